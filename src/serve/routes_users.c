/* The users of the data set: by id, or a sample of them. */
#include "core/error.h"
#include "kernels/common/philox.h"
#include "serve/deferred.h"
#include "serve/json_write.h"
#include "serve/routes.h"
#include "serve/schemas.h"

enum { USERS_MAX = 200, DRAWS_A_USER = 64 };

struct user_list {
    const struct snapshot *snapshot;
    int64_t limit, cluster; /* cluster -1 = any */
    int n;
    int32_t users[USERS_MAX];
    int64_t next; /* id of the first user after the page, -1 = none */
};

static int wanted(const struct user_list *list, int32_t user) {
    return list->cluster < 0 || (list->snapshot->user_clusters && list->snapshot->user_clusters[user] == list->cluster);
}

/* Users of this id and above. */
static void list_from(struct user_list *list, int64_t first_id) {
    const struct reel_dataset *dataset = list->snapshot->dataset;
    int32_t at = 0, end = dataset->n_users;
    while (at < end) {
        int32_t middle = at + (end - at) / 2;
        if (dataset->user_ids[middle] < first_id)
            at = middle + 1;
        else
            end = middle;
    }
    for (; at < dataset->n_users; at++) {
        if (!wanted(list, at)) continue;
        if (list->n == list->limit) {
            list->next = dataset->user_ids[at];
            return;
        }
        list->users[list->n++] = at;
    }
}

static int listed(const struct user_list *list, int32_t user) {
    int i = 0;
    while (i < list->n && list->users[i] != user) i++;
    return i < list->n;
}

/* Users drawn without putting back; the same ones for the same seed. Of a rare cluster there may be fewer. */
static void draw(struct user_list *list, int64_t seed) {
    const uint32_t n_users = (uint32_t)list->snapshot->dataset->n_users;
    for (int64_t i = 0; n_users > 0 && list->n < list->limit && i < list->limit * DRAWS_A_USER; i++) {
        int32_t user = (int32_t)(philox_block((uint64_t)seed, 0, (uint64_t)i).v[0] % n_users);
        if (wanted(list, user) && !listed(list, user)) list->users[list->n++] = user;
    }
}

static void write_user(struct strbuf *out, const struct snapshot *snapshot, int32_t user) {
    const int64_t *offsets = snapshot->dataset->ratings.user_offsets;
    int cluster = snapshot->user_clusters ? snapshot->user_clusters[user] : -1;
    strbuf_puts(out, "{\"id\":");
    json_write_int(out, snapshot->dataset->user_ids[user]);
    strbuf_puts(out, ",\"n_ratings\":");
    json_write_int(out, offsets[user + 1] - offsets[user]);
    strbuf_puts(out, ",\"mean_rating\":");
    json_write_decimal(out, snapshot->user_means[user], 3);
    strbuf_puts(out, ",\"cluster\":");
    if (cluster < 0)
        strbuf_puts(out, "null}");
    else
        strbuf_printf(out, "%d}", cluster);
}

static enum request_outcome answer(struct request *request, const struct user_list *list) {
    struct strbuf out = {0};
    strbuf_puts(&out, "{\"users\":[");
    for (int i = 0; i < list->n; i++) {
        if (i) strbuf_add(&out, ",", 1);
        write_user(&out, list->snapshot, list->users[i]);
    }
    strbuf_puts(&out, "],\"next_cursor\":");
    if (list->next < 0)
        strbuf_puts(&out, "null}");
    else
        strbuf_printf(&out, "%lld}", (long long)list->next);
    return answer_text(request, &out);
}

static enum request_outcome get_users(struct request *request) {
    struct user_list list = {.snapshot = request_snapshot(request), .limit = 20, .cluster = -1, .next = -1};
    int64_t cursor = 0, seed = 0;
    int sample = request_query_int(request, "sample", 0, INT64_C(9007199254740991), &seed);
    if (sample < 0 || request_query_int(request, "limit", 1, USERS_MAX, &list.limit) < 0 ||
        request_query_int(request, "cursor", 0, INT32_MAX, &cursor) < 0 ||
        request_query_int(request, "cluster", 0, INT32_MAX, &list.cluster) < 0)
        return REQUEST_DONE;
    if (sample)
        draw(&list, seed);
    else
        list_from(&list, cursor);
    return answer(request, &list);
}

/* clang-format off */
const struct route route_users = {
    .method = HTTP_GET,
    .pattern = "/api/v1/users",
    .handle = get_users,
    .summary = "The users of the data set by id, or a sample of them",
    .parameters = (const struct parameter[]){
        {"limit", "query", JSON({"type":"integer","minimum":1,"maximum":200,"default":20}), "how many"},
        {"cursor", "query", JSON({"type":"integer","minimum":0,"maximum":2147483647,"default":0}),
            "id to begin at: next_cursor of the page before"},
        {"cluster", "query", JSON({"type":"integer","minimum":0,"maximum":2147483647}), "only users of this cluster"},
        {"sample", "query", JSON({"type":"integer","minimum":0,"maximum":9007199254740991}),
            "a seed: draw users by it instead of listing them; the same seed draws the same users"},
        {0}},
    .answer = SCHEMA_OBJECT(JSON("users","next_cursor"), JSON("users":)
        SCHEMA_LIST(SCHEMA_OBJECT(JSON("id","n_ratings","mean_rating","cluster"),
            JSON("id":) SCHEMA_ID JSON(,"n_ratings":) SCHEMA_COUNT JSON(,"mean_rating":) SCHEMA_NUMBER_OR_NULL
            JSON(,"cluster":) SCHEMA_INT_OR_NULL))
        JSON(,"next_cursor":) SCHEMA_INT_OR_NULL),
    .problems = "400",
};
/* clang-format on */
