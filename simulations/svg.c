#include "simulations/svg.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// All lengths are in user units of the picture, 960 wide.
enum {
    WIDTH = 960,
    LEFT = 80,
    RIGHT = 868, // the rest is for the label of the last value
    HEADER = 150,
    GAP = 64, // between panels: ticks below one, title above the next
    POINTS_MAX = 1500,
    DOTS_MAX = 60, // with more rounds the line alone reads better
};

struct panel {
    const char *title;
    const char *color;
    size_t offset; // of the value in struct trib_svg_point
    double top, height;
    bool is_first; // and so shows the best value and the abandoned rounds
};

struct axis {
    double low, high, step; // low and high are multiples of step
};

struct frame {
    const struct trib_svg_chart *chart;
    struct trib_buf *buf;
    double round_low, round_high;
};

static void put_escaped(struct trib_buf *buf, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': trib_buf_text(buf, "&amp;"); break;
        case '<': trib_buf_text(buf, "&lt;"); break;
        case '>': trib_buf_text(buf, "&gt;"); break;
        case '"': trib_buf_text(buf, "&quot;"); break;
        default: trib_buf_append(buf, text, 1); break;
        }
    }
}

static double value_of(const struct trib_svg_point *point, const struct panel *panel)
{
    double value;
    memcpy(&value, (const char *)point + panel->offset, sizeof(value));
    return value;
}

// The smallest of 1, 2, 5 times a power of ten that cuts `span` into at most `parts`.
static double nice_step(double span, double parts)
{
    const double rough = span / parts;
    const double power = pow(10, floor(log10(rough)));
    const double share = rough / power;
    if (share <= 1)
        return power;
    return share <= 2 ? 2 * power : share <= 5 ? 5 * power : 10 * power;
}

static struct axis axis_of(double low, double high, double parts)
{
    if (!(high - low > 1e-9 * fmax(fabs(low), fabs(high)))) { // one value: show it in the middle
        const double room = fmax(fabs(high), 1e-3) * 0.1;
        low -= room;
        high += room;
    }
    const double step = nice_step(high - low, parts);
    return (struct axis){.low = floor(low / step + 1e-9) * step,
                         .high = ceil(high / step - 1e-9) * step,
                         .step = step};
}

static double x_of(const struct frame *frame, double round)
{
    return LEFT +
           (RIGHT - LEFT) * (round - frame->round_low) / (frame->round_high - frame->round_low);
}

static double y_of(const struct panel *panel, const struct axis *axis, double value)
{
    return panel->top + panel->height * (axis->high - value) / (axis->high - axis->low);
}

static void put_text(struct trib_buf *buf, double x, double y, const char *attributes,
                     const char *text)
{
    trib_buf_printf(buf, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
    put_escaped(buf, text);
    trib_buf_text(buf, "</text>\n");
}

static void put_number(struct trib_buf *buf, double x, double y, const char *attributes,
                       double value)
{
    char text[40];
    (void)snprintf(text, sizeof(text), "%.6g", fabs(value) < 1e-12 ? 0.0 : value);
    put_text(buf, x, y, attributes, text);
}

static void put_line(struct trib_buf *buf, double x1, double y1, double x2, double y2,
                     const char *color)
{
    trib_buf_printf(buf, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2,
                    color);
}

static void draw_grid(const struct frame *frame, const struct panel *panel, const struct axis *axis)
{
    struct trib_buf *buf = frame->buf;
    const double bottom = panel->top + panel->height;
    const double parts = 10;
    double step = nice_step(frame->round_high - frame->round_low, parts);

    step = step < 1 ? 1 : step; // rounds are whole
    put_text(buf, LEFT, panel->top - 14, "class=\"name\"", panel->title);
    for (double y = axis->low; y < axis->high + axis->step / 2; y += axis->step) {
        double at = y_of(panel, axis, y);
        put_line(buf, LEFT, at, RIGHT, at, y == axis->low ? "#9aa5b1" : "#e3e8ee");
        put_number(buf, LEFT - 10, at + 4, "class=\"tick\" text-anchor=\"end\"", y);
    }
    for (double r = ceil(frame->round_low / step) * step; r <= frame->round_high; r += step) {
        double at = x_of(frame, r);
        put_line(buf, at, bottom, at, bottom + 5, "#9aa5b1");
        put_number(buf, at, bottom + 19, "class=\"tick\" text-anchor=\"middle\"", r);
    }
    put_text(buf, RIGHT + 26, bottom + 19, "class=\"tick\"", "round");
}

static void draw_abandoned(const struct frame *frame, const struct panel *panel)
{
    const double bottom = panel->top + panel->height;
    bool any = false;
    trib_buf_text(frame->buf, "<path class=\"lost\" d=\"");
    for (size_t i = 0; i < frame->chart->count; i++) {
        const struct trib_svg_point *point = &frame->chart->points[i];
        if (!point->is_abandoned)
            continue;
        any = true;
        trib_buf_printf(frame->buf, "M%.1f %.1fv-9", x_of(frame, point->round), bottom);
    }
    trib_buf_text(frame->buf, "\"/>\n");
    if (any)
        put_text(frame->buf, RIGHT, panel->top - 14, "class=\"tick\" text-anchor=\"end\"",
                 "red marks: abandoned rounds");
}

// The line through all points that have a value; returns the last one, NULL if there is none.
static const struct trib_svg_point *draw_line(const struct frame *frame, const struct panel *panel,
                                              const struct axis *axis, size_t values)
{
    const struct trib_svg_chart *chart = frame->chart;
    const struct trib_svg_point *last = NULL;
    const size_t stride = values / POINTS_MAX + 1;
    size_t seen = 0;

    trib_buf_printf(frame->buf, "<polyline stroke=\"%s\" points=\"", panel->color);
    for (size_t i = 0; i < chart->count; i++) {
        double value = value_of(&chart->points[i], panel);
        if (!isfinite(value))
            continue;
        last = &chart->points[i];
        if (seen++ % stride == 0 || seen == values)
            trib_buf_printf(frame->buf, "%.1f,%.1f ", x_of(frame, last->round),
                            y_of(panel, axis, value));
    }
    trib_buf_text(frame->buf, "\"/>\n");
    for (size_t i = 0; values <= DOTS_MAX && i < chart->count; i++) {
        double value = value_of(&chart->points[i], panel);
        if (isfinite(value))
            trib_buf_printf(frame->buf, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"/>\n",
                            x_of(frame, chart->points[i].round), y_of(panel, axis, value),
                            panel->color);
    }
    return last;
}

static void draw_panel(const struct frame *frame, const struct panel *panel)
{
    const struct trib_svg_chart *chart = frame->chart;
    double low = (double)INFINITY;
    double high = -(double)INFINITY;
    size_t values = 0;

    for (size_t i = 0; i < chart->count; i++) {
        double value = value_of(&chart->points[i], panel);
        if (!isfinite(value))
            continue;
        low = fmin(low, value);
        high = fmax(high, value);
        values++;
    }
    const struct axis axis = values ? axis_of(low, high, 5) : axis_of(0, 1, 5);
    draw_grid(frame, panel, &axis);
    if (panel->is_first)
        draw_abandoned(frame, panel);
    if (values == 0) {
        put_text(frame->buf, (LEFT + RIGHT) / 2.0, panel->top + panel->height / 2,
                 "class=\"fact\" text-anchor=\"middle\"", "no values");
        return;
    }
    const struct trib_svg_point *last = draw_line(frame, panel, &axis, values);
    const double value = value_of(last, panel);
    const double x = x_of(frame, last->round);
    const double y = y_of(panel, &axis, value);
    trib_buf_printf(frame->buf, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"%s\"/>\n", x, y,
                    panel->color);
    char text[40];
    (void)snprintf(text, sizeof(text), "%.4g", value);
    put_text(frame->buf, x + 10, y + 4, "class=\"last\"", text);
    if (panel->is_first && isfinite(chart->best) && chart->best <= axis.high &&
        chart->best >= axis.low)
        trib_buf_printf(frame->buf, "<circle class=\"best\" cx=\"%.1f\" cy=\"%.1f\" r=\"7\"/>\n",
                        x_of(frame, chart->best_round), y_of(panel, &axis, chart->best));
}

static void draw_header(const struct trib_svg_chart *chart, struct trib_buf *buf)
{
    char text[120];
    put_text(buf, LEFT - 40, 52, "class=\"title\"", chart->title);
    put_text(buf, LEFT - 40, 80, "class=\"fact\"", chart->facts);
    put_text(buf, LEFT - 40, 102, "class=\"fact\"", chart->model);
    if (isfinite(chart->final)) {
        (void)snprintf(text, sizeof(text), "%.4g", chart->final);
        put_text(buf, WIDTH - 40, 52, "class=\"title\" text-anchor=\"end\"", text);
        if (chart->averaged > 0)
            (void)snprintf(text, sizeof(text), "final %s, mean of the last %" PRIu64 " versions",
                           chart->metric, chart->averaged);
        else
            (void)snprintf(text, sizeof(text), "final %s", chart->metric);
        put_text(buf, WIDTH - 40, 80, "class=\"fact\" text-anchor=\"end\"", text);
    }
    if (isfinite(chart->best)) {
        (void)snprintf(text, sizeof(text), "best %.4g in round %.0f", chart->best,
                       chart->best_round);
        put_text(buf, WIDTH - 40, 102, "class=\"fact\" text-anchor=\"end\"", text);
    }
}

static void draw_style(double height, struct trib_buf *buf)
{
    trib_buf_printf(
        buf,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" "
        "height=\"%.0f\" role=\"img\" fill=\"none\">\n",
        WIDTH, height, WIDTH, height);
    trib_buf_text(buf,
                  "<style>text{font-family:system-ui,'DejaVu Sans',Helvetica,sans-serif;"
                  "fill:#52606d}"
                  ".title{font-size:26px;font-weight:600;fill:#1f2933}.fact{font-size:14px}"
                  ".name{font-size:15px;font-weight:600;fill:#323f4b}.tick{font-size:12px}"
                  ".last{font-size:13px;font-weight:600;fill:#1f2933}"
                  "polyline{stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}"
                  ".best{stroke:#1f2933;stroke-width:1.4}.lost{stroke:#d64545;stroke-width:1.6}"
                  "</style>\n");
    trib_buf_printf(buf, "<rect width=\"%d\" height=\"%.0f\" fill=\"#fbfcfd\"/>\n", WIDTH, height);
}

void trib_svg_draw(const struct trib_svg_chart *chart, struct trib_buf *buf)
{
    const struct panel panels[] = {
        {chart->metric, "#1b6ec2", offsetof(struct trib_svg_point, value), HEADER, 230, true},
        {"loss", "#b4560f", offsetof(struct trib_svg_point, loss), HEADER + 230 + GAP, 160, false},
        {"ε spent, one device", "#6b3fa0", offsetof(struct trib_svg_point, epsilon),
         HEADER + 230 + 160 + 2 * GAP, 110, false},
    };
    size_t count = sizeof(panels) / sizeof(panels[0]);
    bool has_epsilon = false;
    for (size_t i = 0; i < chart->count; i++)
        has_epsilon = has_epsilon || isfinite(chart->points[i].epsilon);
    if (!has_epsilon) // privacy off
        count--;

    struct frame frame = {.chart = chart, .buf = buf, .round_low = 1, .round_high = 2};
    if (chart->count > 0) {
        frame.round_low = chart->points[0].round;
        frame.round_high = chart->points[chart->count - 1].round;
    }
    if (frame.round_high <= frame.round_low) { // one round: in the middle
        frame.round_low -= 1;
        frame.round_high = frame.round_low + 2;
    }
    draw_style(panels[count - 1].top + panels[count - 1].height + 48, buf);
    trib_buf_text(buf, "<title>");
    put_escaped(buf, chart->title);
    trib_buf_text(buf, "</title>\n");
    draw_header(chart, buf);
    for (size_t i = 0; i < count; i++)
        draw_panel(&frame, &panels[i]);
    trib_buf_text(buf, "</svg>\n");
}
