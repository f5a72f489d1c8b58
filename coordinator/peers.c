#include "coordinator/peers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/wipe.h"
#include "common/wire/link.h"
#include "common/wire/token.h"
#include "coordinator/allow_list.h"

#define TRIB_LOG_MODULE "peers"

enum {
    REPLAY_SLOTS = 1024, // recent ephemeral keys
    SOURCES = 1024,      // addresses whose handshakes are counted
};

struct token {
    struct trib_store_token row;
    struct token *next; // all of them, for freeing
};

struct bucket {
    double left; // handshakes that may still be done now
    uint64_t filled_ms;
};

struct source {
    char address[TRIB_PEER_TEXT_SIZE];
    struct bucket bucket;
};

struct trib_peers {
    pthread_mutex_t lock;
    struct trib_map *by_key;   // 32-byte key: peer
    struct trib_map *by_name;  // peer
    struct trib_map *by_id;    // uint64_t: peer
    struct trib_peer **sorted; // by name
    size_t count, capacity;
    struct trib_map *tokens; // 8-byte id: token
    struct token *token_list;
    struct trib_map *token_uses;     // token id and key: peer
    struct trib_allow_list *allowed; // NULL: there is none
    uint8_t replay[REPLAY_SLOTS][TRIB_NOISE_KEY_SIZE];
    size_t replay_next;
    struct trib_map *replayed; // ephemeral: a slot of `replay`
    struct bucket budget;      // of all
    struct source sources[SOURCES];
    size_t source_next;
    struct trib_map *by_address; // struct source
    uint64_t handshakes_per_second, handshakes_per_source;
    bool pending_allowed;
    struct trib_pending *pending; // (TRIB_PENDING_MAX), owned, made when first needed
    size_t pending_count;
};

enum trib_err trib_peers_create(uint64_t handshakes_per_second, uint64_t handshakes_per_source,
                                struct trib_peers **ret_peers)
{
    struct trib_peers *peers = trib_alloc(sizeof(*peers));
    if (!peers)
        return TRIB_ERR_NOMEM;
    (void)pthread_mutex_init(&peers->lock, NULL);
    peers->handshakes_per_second = handshakes_per_second;
    peers->handshakes_per_source = handshakes_per_source;
    if (trib_map_create(&peers->by_key) || trib_map_create(&peers->by_name) ||
        trib_map_create(&peers->by_id) || trib_map_create(&peers->tokens) ||
        trib_map_create(&peers->token_uses) || trib_map_create(&peers->replayed) ||
        trib_map_create(&peers->by_address)) {
        trib_peers_destroy(peers);
        return TRIB_ERR_NOMEM;
    }
    *ret_peers = peers;
    return TRIB_OK;
}

void trib_peers_destroy(struct trib_peers *peers)
{
    if (!peers)
        return;
    for (size_t i = 0; i < peers->count; i++)
        free(peers->sorted[i]);
    free(peers->sorted);
    while (peers->token_list) {
        struct token *token = peers->token_list;
        peers->token_list = token->next;
        trib_wipe(token, sizeof(*token));
        free(token);
    }
    trib_allow_list_destroy(peers->allowed);
    free(peers->pending);
    trib_map_destroy(peers->by_key);
    trib_map_destroy(peers->by_name);
    trib_map_destroy(peers->by_id);
    trib_map_destroy(peers->tokens);
    trib_map_destroy(peers->token_uses);
    trib_map_destroy(peers->replayed);
    trib_map_destroy(peers->by_address);
    (void)pthread_mutex_destroy(&peers->lock);
    free(peers);
}

// ---- Devices

static enum trib_err sorted_insert(struct trib_peers *peers, struct trib_peer *peer)
{
    if (peers->count == peers->capacity) {
        size_t capacity = peers->capacity ? peers->capacity * 2 : 64;
        struct trib_peer **sorted = trib_alloc_array(capacity, sizeof(struct trib_peer *));
        if (!sorted)
            return TRIB_ERR_NOMEM;
        if (peers->sorted)
            memcpy(sorted, peers->sorted, peers->count * sizeof(struct trib_peer *));
        free(peers->sorted);
        peers->sorted = sorted;
        peers->capacity = capacity;
    }
    size_t at = peers->count; // loaded in order: usually the end
    while (at > 0 && strcmp(peers->sorted[at - 1]->row.name, peer->row.name) > 0)
        at--;
    memmove(peers->sorted + at + 1, peers->sorted + at,
            (peers->count - at) * sizeof(struct trib_peer *));
    peers->sorted[at] = peer;
    peers->count++;
    return TRIB_OK;
}

static void use_key(uint8_t out[static 40], const uint8_t *token_id, const uint8_t *key)
{
    memcpy(out, token_id, 8);
    memcpy(out + 8, key, 32);
}

enum trib_err trib_peers_add(struct trib_peers *peers, const struct trib_store_device *row,
                             const uint8_t *token_id, struct trib_peer **ret_peer)
{
    uint8_t use[40];
    struct trib_peer *peer = trib_alloc(sizeof(*peer));
    if (!peer)
        return TRIB_ERR_NOMEM;
    peer->row = *row;
    peer->seen_ms = row->seen_ms > row->enrolled_ms ? row->seen_ms : row->enrolled_ms;

    (void)pthread_mutex_lock(&peers->lock);
    enum trib_err err = sorted_insert(peers, peer);
    if (!err)
        err = trib_map_put(peers->by_key, row->key, sizeof(row->key), peer);
    if (!err && row->has_next)
        err = trib_map_put(peers->by_key, row->next_key, sizeof(row->next_key), peer);
    if (!err)
        err = trib_map_put(peers->by_name, row->name, strlen(row->name), peer);
    if (!err)
        err = trib_map_put(peers->by_id, &row->id, sizeof(row->id), peer);
    if (!err && token_id) {
        struct token *token = trib_map_get(peers->tokens, token_id, 8);
        if (token && token->row.uses_left > 0)
            token->row.uses_left--;
        use_key(use, token_id, row->key);
        err = trib_map_put(peers->token_uses, use, sizeof(use), peer);
    }
    (void)pthread_mutex_unlock(&peers->lock);
    if (!err)
        *ret_peer = peer;
    return err; // out of memory here ends the process: the directory would not match the store
}

enum trib_err trib_peers_token_add(struct trib_peers *peers, const struct trib_store_token *row)
{
    struct token *token = trib_alloc(sizeof(*token));
    if (!token)
        return TRIB_ERR_NOMEM;
    token->row = *row;
    (void)pthread_mutex_lock(&peers->lock);
    token->next = peers->token_list;
    peers->token_list = token;
    enum trib_err err = trib_map_put(peers->tokens, row->id, sizeof(row->id), token);
    (void)pthread_mutex_unlock(&peers->lock);
    return err;
}

void trib_peers_tokens_void(struct trib_peers *peers, const char *name)
{
    (void)pthread_mutex_lock(&peers->lock);
    for (struct token *token = peers->token_list; token; token = token->next) {
        if (strcmp(token->row.name, name) == 0)
            token->row.uses_left = 0;
    }
    (void)pthread_mutex_unlock(&peers->lock);
}

bool trib_peers_key_is_free(struct trib_peers *peers, const struct trib_peer *peer,
                            const uint8_t key[static 32])
{
    (void)pthread_mutex_lock(&peers->lock);
    const struct trib_peer *owner = trib_map_get(peers->by_key, key, 32);
    (void)pthread_mutex_unlock(&peers->lock);
    return !owner || (owner == peer && memcmp(peer->row.key, key, 32) != 0);
}

enum trib_err trib_peers_next(struct trib_peers *peers, struct trib_peer *peer,
                              const uint8_t key[static 32], const uint8_t sign_key[static 32])
{
    (void)pthread_mutex_lock(&peers->lock);
    if (peer->row.has_next)
        (void)trib_map_remove(peers->by_key, peer->row.next_key, 32);
    enum trib_err err = trib_map_put(peers->by_key, key, 32, peer);
    peer->row.has_next = !err;
    memcpy(peer->row.next_key, key, 32);
    memcpy(peer->row.next_sign_key, sign_key, 32);
    (void)pthread_mutex_unlock(&peers->lock);
    return err;
}

void trib_peers_promote(struct trib_peers *peers, struct trib_peer *peer)
{
    (void)pthread_mutex_lock(&peers->lock);
    (void)trib_map_remove(peers->by_key, peer->row.key, 32);
    memcpy(peer->row.key, peer->row.next_key, 32);
    memcpy(peer->row.sign_key, peer->row.next_sign_key, 32);
    peer->row.has_next = false;
    peer->row.has_roster = false;
    (void)pthread_mutex_unlock(&peers->lock);
}

void trib_peers_revoke(struct trib_peers *peers, struct trib_peer *peer, uint64_t wall_ms)
{
    (void)pthread_mutex_lock(&peers->lock);
    peer->row.is_revoked = true;
    peer->row.revoked_ms = wall_ms;
    (void)pthread_mutex_unlock(&peers->lock);
}

struct loading {
    struct trib_peers *peers;
    uint64_t now_ms;
    enum trib_err err;
};

static void load_device(void *user, const struct trib_store_device *row)
{
    struct loading *loading = user;
    struct trib_peer *peer;
    if (!loading->err)
        loading->err = trib_peers_add(loading->peers, row, NULL, &peer);
    if (!loading->err)
        peer->gone_ms = loading->now_ms;
}

static void load_token(void *user, const struct trib_store_token *row)
{
    struct loading *loading = user;
    if (!loading->err)
        loading->err = trib_peers_token_add(loading->peers, row);
}

static void load_token_use(void *user, const uint8_t token[8], uint64_t device)
{
    struct loading *loading = user;
    struct trib_peer *peer = trib_peers_by_id(loading->peers, device);
    uint8_t use[40];
    if (!peer || loading->err)
        return;
    use_key(use, token, peer->row.key);
    loading->err = trib_map_put(loading->peers->token_uses, use, sizeof(use), peer);
}

enum trib_err trib_peers_load(struct trib_peers *peers, struct trib_store *store, uint64_t now_ms)
{
    struct loading loading = {.peers = peers, .now_ms = now_ms};
    enum trib_err err = trib_store_devices(store, load_device, &loading);
    if (!err)
        err = trib_store_tokens(store, load_token, &loading);
    if (!err)
        err = trib_store_token_uses(store, load_token_use, &loading);
    return err ? err : loading.err;
}

size_t trib_peers_count(const struct trib_peers *peers)
{
    return peers->count;
}

struct trib_peer *trib_peers_at(const struct trib_peers *peers, size_t index)
{
    return peers->sorted[index];
}

struct trib_peer *trib_peers_by_id(const struct trib_peers *peers, uint64_t id)
{
    return trib_map_get(peers->by_id, &id, sizeof(id));
}

struct trib_peer *trib_peers_by_name(const struct trib_peers *peers, const char *name)
{
    size_t size = strlen(name);
    return size > 0 && size <= TRIB_NAME_MAX ? trib_map_get(peers->by_name, name, size) : NULL;
}

bool trib_peers_name_is_free(const struct trib_peers *peers, const char *name, uint64_t wall_ms)
{
    if (trib_peers_by_name(peers, name))
        return false;
    for (const struct token *token = peers->token_list; token; token = token->next) {
        if (token->row.uses_left > 0 && token->row.expires_ms > wall_ms &&
            strcmp(token->row.name, name) == 0)
            return false; // promised to whoever comes with that token
    }
    return true;
}

enum trib_err trib_peers_allow(struct trib_peers *peers, const char *path, uint64_t wall_ms)
{
    struct trib_allow_list *list;
    enum trib_err err = trib_allow_list_read(path, wall_ms, &list);
    if (err)
        return err;
    TRIB_INFO("allow_list=%s keys=%zu", path, trib_allow_list_count(list));
    (void)pthread_mutex_lock(&peers->lock);
    struct trib_allow_list *old = peers->allowed;
    peers->allowed = list;
    (void)pthread_mutex_unlock(&peers->lock);
    trib_allow_list_destroy(old);
    return TRIB_OK;
}

// ---- Judging

// Has this ephemeral key been here lately? A genuine one never comes twice.
static bool is_replay(struct trib_peers *peers, const uint8_t ephemeral[static TRIB_NOISE_KEY_SIZE])
{
    if (trib_map_get(peers->replayed, ephemeral, TRIB_NOISE_KEY_SIZE))
        return true;
    uint8_t *slot = peers->replay[peers->replay_next];
    (void)trib_map_remove(peers->replayed, slot, TRIB_NOISE_KEY_SIZE);
    memcpy(slot, ephemeral, TRIB_NOISE_KEY_SIZE);
    peers->replay_next = (peers->replay_next + 1) % REPLAY_SLOTS;
    return trib_map_put(peers->replayed, slot, TRIB_NOISE_KEY_SIZE, slot) != TRIB_OK;
}

// A token bucket that holds one second's worth.
static bool bucket_take(struct bucket *bucket, uint64_t per_second, uint64_t now_ms)
{
    const double rate = (double)per_second;
    // A worker reads the clock before it waits for the lock, so `now_ms` may be a little behind.
    uint64_t passed_ms = now_ms > bucket->filled_ms ? now_ms - bucket->filled_ms : 0;
    bucket->left = bucket->filled_ms ? bucket->left + rate * (double)passed_ms / 1000 : rate;
    bucket->left = bucket->left < rate ? bucket->left : rate;
    bucket->filled_ms += passed_ms;
    if (bucket->left < 1)
        return false;
    bucket->left -= 1;
    return true;
}

// The bucket of an address; the one that came into the table first makes room for a new one.
static struct source *source_of(struct trib_peers *peers, const char *address)
{
    size_t size = strlen(address);
    struct source *source = trib_map_get(peers->by_address, address, size);
    if (source)
        return source;
    source = &peers->sources[peers->source_next];
    peers->source_next = (peers->source_next + 1) % SOURCES;
    if (source->address[0])
        (void)trib_map_remove(peers->by_address, source->address, strlen(source->address));
    *source = (struct source){.bucket = {.filled_ms = 0}};
    (void)snprintf(source->address, sizeof(source->address), "%s", address);
    return trib_map_put(peers->by_address, address, size, source) ? NULL : source;
}

static bool budget_allows(struct trib_peers *peers, const char *address, uint64_t now_ms)
{
    struct source *source = source_of(peers, address);
    return source && bucket_take(&source->bucket, peers->handshakes_per_source, now_ms) &&
           bucket_take(&peers->budget, peers->handshakes_per_second, now_ms);
}

static bool token_is_good(const struct trib_peers *peers, const struct trib_hello *hello,
                          uint64_t wall_ms)
{
    uint8_t hash[32];
    uint8_t use[40];
    const struct token *token = trib_map_get(peers->tokens, hello->token_id, 8);
    if (!token)
        return false;
    trib_token_hash(hello->token_secret, hash);
    if (!trib_equal_ct(hash, token->row.secret_hash, sizeof(hash)))
        return false;
    use_key(use, hello->token_id, hello->static_key);
    const struct trib_peer *user = trib_map_get(peers->token_uses, use, sizeof(use));
    if (user)
        return !user->row.is_revoked; // the same key again: it may have missed our answer
    return token->row.uses_left > 0 && token->row.expires_ms > wall_ms;
}

enum trib_verdict trib_peers_knock(struct trib_peers *peers,
                                   const uint8_t ephemeral[static TRIB_NOISE_KEY_SIZE],
                                   const char *source, uint64_t now_ms)
{
    enum trib_verdict verdict = TRIB_VERDICT_UNKNOWN;
    (void)pthread_mutex_lock(&peers->lock);
    if (!budget_allows(peers, source, now_ms))
        verdict = TRIB_VERDICT_BUSY;
    else if (trib_map_get(peers->replayed, ephemeral, TRIB_NOISE_KEY_SIZE))
        verdict = TRIB_VERDICT_REPLAY;
    (void)pthread_mutex_unlock(&peers->lock);
    return verdict;
}

enum trib_verdict trib_peers_judge(struct trib_peers *peers, const struct trib_hello *hello,
                                   uint64_t wall_ms, struct trib_peer **ret_peer)
{
    enum trib_verdict verdict = TRIB_VERDICT_UNKNOWN;
    *ret_peer = NULL;
    (void)pthread_mutex_lock(&peers->lock);
    struct trib_peer *peer = trib_map_get(peers->by_key, hello->static_key, 32);
    if (is_replay(peers, hello->ephemeral)) {
        verdict = TRIB_VERDICT_REPLAY;
    } else if (peer && peer->row.is_revoked) {
        // Silence, for good: not even a fresh token brings a revoked key back.
    } else if (hello->kind == TRIB_HELLO_TOKEN) {
        if (token_is_good(peers, hello, wall_ms))
            verdict = TRIB_VERDICT_TOKEN;
    } else if (peer) {
        verdict = TRIB_VERDICT_DEVICE;
        *ret_peer = peer;
    } else if (trib_allow_list_find(peers->allowed, hello->static_key)) {
        verdict = TRIB_VERDICT_LISTED;
    } else if (peers->pending_allowed) {
        verdict = TRIB_VERDICT_PENDING;
    }
    (void)pthread_mutex_unlock(&peers->lock);
    return verdict;
}

// ---- Those who wait

void trib_peers_pending_allow(struct trib_peers *peers, bool allow)
{
    peers->pending_allowed = allow; // set once, before anybody is judged
}

static void forget_old(struct trib_peers *peers, uint64_t wall_ms)
{
    const uint64_t age_max = TRIB_PENDING_DAYS * 86400000ull;
    for (size_t i = 0; i < peers->pending_count;) {
        if (wall_ms > peers->pending[i].asked_ms + age_max)
            peers->pending[i] = peers->pending[--peers->pending_count];
        else
            i++;
    }
}

enum trib_err trib_peers_pending_add(struct trib_peers *peers, const struct trib_pending *pending,
                                     uint64_t wall_ms)
{
    size_t from_source = 0;
    if (!peers->pending)
        peers->pending = trib_alloc_array(TRIB_PENDING_MAX, sizeof(*peers->pending));
    if (!peers->pending)
        return TRIB_ERR_NOMEM;
    forget_old(peers, wall_ms);
    for (size_t i = 0; i < peers->pending_count; i++) {
        if (memcmp(peers->pending[i].key, pending->key, sizeof(pending->key)) == 0)
            return TRIB_OK;
        from_source += strcmp(peers->pending[i].source, pending->source) == 0;
    }
    if (peers->pending_count == TRIB_PENDING_MAX || from_source >= TRIB_PENDING_PER_SOURCE)
        return TRIB_ERR_LIMIT;
    struct trib_pending *row = &peers->pending[peers->pending_count++];
    *row = *pending;
    row->asked_ms = wall_ms;
    trib_device_name(row->key, row->name);
    return TRIB_OK;
}

size_t trib_peers_pending_count(const struct trib_peers *peers)
{
    return peers->pending_count;
}

const struct trib_pending *trib_peers_pending_at(const struct trib_peers *peers, size_t index)
{
    return &peers->pending[index];
}

const struct trib_pending *trib_peers_pending_find(const struct trib_peers *peers, const char *text)
{
    uint8_t key[TRIB_NOISE_KEY_SIZE];
    size_t size;
    const bool is_key = trib_base64_decode(text, key, sizeof(key), &size) && size == sizeof(key);
    for (size_t i = 0; i < peers->pending_count; i++) {
        const struct trib_pending *row = &peers->pending[i];
        if (strcmp(row->name, text) == 0 || strcmp(row->name + strlen("dev-"), text) == 0 ||
            (is_key && memcmp(row->key, key, sizeof(key)) == 0))
            return row;
    }
    return NULL;
}

void trib_peers_pending_drop(struct trib_peers *peers, const uint8_t key[static 32])
{
    for (size_t i = 0; i < peers->pending_count; i++) {
        if (memcmp(peers->pending[i].key, key, 32) == 0) {
            peers->pending[i] = peers->pending[--peers->pending_count];
            return;
        }
    }
}

enum trib_err trib_peers_plan(struct trib_peers *peers, const struct trib_enrolment *enrolment,
                              struct trib_store_device *ret_row, struct trib_peer **ret_peer)
{
    struct trib_store_device row = {.id = 0};
    enum trib_err err = TRIB_OK;
    memcpy(row.key, enrolment->key, sizeof(row.key));

    (void)pthread_mutex_lock(&peers->lock);
    struct trib_peer *peer = trib_map_get(peers->by_key, enrolment->key, 32);
    if (!peer && enrolment->how == TRIB_VERDICT_TOKEN) {
        const struct token *token = trib_map_get(peers->tokens, enrolment->token_id, 8);
        if (!token || token->row.uses_left == 0)
            err = TRIB_ERR_STATE;
        else if (token->row.name[0])
            (void)snprintf(row.name, sizeof(row.name), "%s", token->row.name);
        else
            trib_device_name(enrolment->key, row.name);
    } else if (!peer) {
        const struct trib_allowed *listed = trib_allow_list_find(peers->allowed, enrolment->key);
        if (!listed) {
            err = TRIB_ERR_STATE;
        } else {
            memcpy(row.name, listed->name, sizeof(row.name));
            memcpy(row.group, listed->group, sizeof(row.group));
        }
    }
    (void)pthread_mutex_unlock(&peers->lock);
    if (!err && !peer && trib_peers_by_name(peers, row.name))
        err = TRIB_ERR_LIMIT;
    if (!err) {
        *ret_row = row;
        *ret_peer = peer;
    }
    return err;
}
