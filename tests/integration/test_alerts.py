#!/usr/bin/env python3
"""docs/alerts.yml: each rule reads metrics that there are, and tells of what it is for and no more."""
import copy
import re

import fleet
import prometheus
from test_http import Watched

# What happens in an hour that is an alert, and what is not yet one: {name and labels: how much more}.
COMMITTED, BEGUN = "rounds_committed_total", "uploads_begun_total"
RECEIPTS = 'upload_receipts_total code="%s"'
CASES = {
    "TributaryRoundsAbandoned": [({COMMITTED: 3, 'rounds_abandoned_total reason="few_reported"': 1},
                                  {COMMITTED: 4, 'rounds_abandoned_total reason="few_reported"': 1}),
                                 ({'rounds_abandoned_total reason="few_selected"': 1}, {COMMITTED: 1})],
    "TributaryUpdatesRefused": [({BEGUN: 19, RECEIPTS % "NORM": 1, RECEIPTS % "ACCEPTED": 18},
                                 {BEGUN: 20, RECEIPTS % "NORM": 1, RECEIPTS % "ACCEPTED": 19}),
                                ({BEGUN: 9, RECEIPTS % "AUTH": 1},
                                 {BEGUN: 9, RECEIPTS % "ROUND_CLOSED": 5, RECEIPTS % "DUPLICATE": 4})],
    "TributaryUploadsCut": [({BEGUN: 7, "uploads_cut_total": 2}, {BEGUN: 8, "uploads_cut_total": 2})],
    "TributaryCommitsSlow": [({"slow files": 0.02}, {"slow files": 0.005}),
                             ({"slow ledger": 0.02}, {"slow ledger": 0.005})],
    "TributaryDiskLow": [({"free_disk_bytes": 1.9e9}, {"free_disk_bytes": 2.1e9})],
    "TributaryDiskFull": [({"full_disks": 1}, {})],
    "TributaryEpsilonNearlySpent": [({"job_target_epsilon": 8, "job_epsilon": 7.3},
                                     {"job_target_epsilon": 8, "job_epsilon": 7.1}),
                                    ({"job_target_epsilon": 1, "job_epsilon": 2}, {"job_epsilon": 2})],
    "TributaryDeviceBudgetsSpent": [
        ({BEGUN: 17, 'tasks_declined_total code="DECLINED_BUDGET"': 2},
         {BEGUN: 18, 'tasks_declined_total code="DECLINED_BUDGET"': 2}),
        ({'tasks_declined_total code="DECLINED_BUDGET"': 1},
         {BEGUN: 1, 'tasks_declined_total code="DECLINED_NO_DATA"': 9})],
    "TributaryCommandsRefused": [({"commands_refused_total": 1}, {})],
    "TributaryUpdateConflict": [({BEGUN: 1000, RECEIPTS % "CONFLICT": 1},
                                 {BEGUN: 1000, RECEIPTS % "ALREADY_COUNTED": 1})],
    "TributaryAuditLogBroken": [({"broken_audit_logs": 1}, {"checked_audit_records": 1000})],
    "TributaryKeyInTwoPlaces": [({"keys_in_two_places_total": 1}, {})],
    "TributaryKeysRefused": [({'keys_refused_total code="KEYS_GAP"': 1}, {})],
    "TributaryModelNotGenuine": [
        ({f'installs_refused_total code="MODEL_{code}"': 1},
         {'installs_refused_total code="MODEL_OLDER"': 1})
        for code in ["UNSIGNED", "DIGEST", "FORKED"]],
    "TributaryConnectionsDoNotAddUp": [
        ({"connections_accepted_total": 2, "open_connections": 1},
         {"connections_accepted_total": 2, "open_connections": 1,
          'connections_closed_total reason="unknown"': 1})],
    "TributaryUploadsDoNotAddUp": [
        ({BEGUN: 3, "uploads_cut_total": 1, RECEIPTS % "NORM": 1},
         {BEGUN: 3, "uploads_cut_total": 1, RECEIPTS % "NORM": 1, "inflight_uploads": 1})],
}


class AlertsTest(fleet.Case):
    @classmethod
    def setUpClass(cls):
        cls.rules = prometheus.parse_rules((fleet.SOURCE / "docs/alerts.yml").read_text())
        with Watched() as tried:
            tried.start_coordinator()
            cls.metrics = tried.when(lambda now: True, "metrics")

    def test_the_alerts_read_what_there_is(self):
        metrics, rules = self.metrics, self.rules
        self.assertEqual(len(rules), len({rule["alert"] for rule in rules}))
        read = set()
        for rule in rules:
            with self.subTest(rule["alert"]):
                self.assertRegex(rule.get("for", "1m"), r"^\d+[smhd]$")
                self.assertIn(rule["labels"]["severity"], {"info", "warning", "critical"})
                self.assertTrue(rule["annotations"]["summary"])
                for selector in prometheus.Expression(rule["expr"]).selectors:
                    read.add(self.check_selector(metrics, *selector))
        for name in ["rounds_abandoned_total", "upload_receipts_total", "commit_seconds",
                     "free_disk_bytes", "job_epsilon", "connections_accepted_total",
                     "uploads_begun_total", "installs_refused_total", "commands_refused_total",
                     "full_disks", "broken_audit_logs", "keys_in_two_places_total",
                     "tasks_declined_total"]:
            self.assertIn(f"tributary_{name}", read)

    def check_selector(self, metrics, name, matchers, span, function):
        """Is it there, with these labels and values, and of the kind that is asked for?"""
        if name == "up":  # Prometheus' own
            return name
        base = re.sub("_(bucket|sum|count)$", "", name)
        metric = metrics[name if name in metrics else base]
        samples = [dict(labels) for sample, labels in metric.samples if sample == name]
        self.assertTrue(samples, name)
        for label, how, pattern in matchers:
            values = {sample[label] for sample in samples}
            wanted = set(pattern.split("|")) if "~" in how else {pattern}
            self.assertLessEqual(wanted, values, name)
        is_counter = metric.type in {"counter", "histogram"}
        self.assertEqual(span is not None, function in {"rate", "increase"}, name)
        self.assertTrue(is_counter or not span, f"{name} is no counter")
        return metric.name

    # ---- What is told

    def later(self, changes):
        """The metrics of an hour in which nothing but this happened: of gauges that say what there is
        of a thing, what they are then."""
        now = copy.deepcopy(self.metrics)
        now["tributary_free_disk_bytes"].samples["tributary_free_disk_bytes", ()] = 1e12
        for what, value in changes.items():
            name, _, label = what.partition(" ")
            if name == "slow":
                self.commit(now["tributary_commit_seconds"], label, value)
                continue
            labels = tuple(tuple(pair.replace('"', "").split("=")) for pair in [label] if pair)
            samples = now[f"tributary_{name}"].samples
            self.assertIn((f"tributary_{name}", labels), samples)
            samples[f"tributary_{name}", labels] = value
        return now

    def commit(self, metric, part, share):
        """A thousand commits, of which that share took longer than all bounds."""
        for name, labels in metric.samples:
            named = dict(labels)
            if name == "tributary_commit_seconds_bucket" and named["part"] == part:
                metric.samples[name, labels] = 1000 if named["le"] == "+Inf" else 1000 * (1 - share)

    def told(self, changes):
        before = self.later({})
        now = self.later(changes)
        return {rule["alert"] for rule in self.rules if rule["alert"] != "TributaryDown"
                and prometheus.Expression(rule["expr"]).value(now, before)}

    def test_each_tells_of_what_it_is_for_and_of_nothing_less(self):
        self.assertEqual({rule["alert"] for rule in self.rules}, {*CASES, "TributaryDown"})
        self.assertEqual(self.told({}), set())
        for alert, cases in CASES.items():
            for wrong, right in cases:
                with self.subTest(alert=alert, wrong=wrong):
                    self.assertIn(alert, self.told(wrong))
                with self.subTest(alert=alert, right=right):
                    self.assertNotIn(alert, self.told(right))

    def test_one_that_is_gone_is_told(self):
        rule = next(rule for rule in self.rules if rule["alert"] == "TributaryDown")
        for value, is_down in [(0, True), (1, False)]:
            up = prometheus.parse("# HELP up Is it there?\n# TYPE up gauge\n"
                                  f'up{{job="tributary"}} {value}\n')
            self.assertEqual(bool(prometheus.Expression(rule["expr"]).value(up)), is_down)

    def test_an_audit_log_that_was_changed_is_told(self):
        expression = prometheus.Expression(next(rule["expr"] for rule in self.rules
                                                if rule["alert"] == "TributaryAuditLogBroken"))
        with Watched() as tried:
            tried.start_coordinator()
            tried.token()
            self.assertEqual(tried.end("coordinator"), 0)
            tried.poke_store("UPDATE audit SET actor='nobody' WHERE number=2")
            tried.start_coordinator()
            now = tried.when(expression.value, "it is found")
        self.assertEqual(list(expression.value(now).values()), [1])


if __name__ == "__main__":
    fleet.main()
