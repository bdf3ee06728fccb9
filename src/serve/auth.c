#include "serve/auth.h"

#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "core/error.h"
#include "core/file.h"
#include "serve/request.h"
#include "serve/server.h"

enum { KEY_BYTES_MIN = 16, SECRET_BYTES_MIN = 32, SECRET_BYTES_MAX = 4096 };

struct auth {
    int all, has_key, has_secret;
    unsigned char key_digest[SHA256_DIGEST_SIZE];
    size_t secret_size;
    char secret[SECRET_BYTES_MAX];
};

static int is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static reel_status read_secret(const char *path, size_t least, char *out, size_t *size, reel_error *err) {
    struct file_map map;
    TRY_RETURN(file_map_open(path, &map, err));
    const char *begin = map.data, *end = map.data ? map.data + map.size : NULL;
    while (begin < end && is_space(*begin)) begin++;
    while (begin < end && is_space(end[-1])) end--;
    *size = (size_t)(end - begin);
    int fits = *size >= least && *size <= SECRET_BYTES_MAX;
    if (fits) memcpy(out, begin, *size);
    file_map_close(&map);
    return fits ? REEL_OK
                : error_set(err, REEL_INVALID_ARGUMENT, "%s must hold %zu to %d bytes (found %zu)", path, least,
                            SECRET_BYTES_MAX, *size);
}

static void digest(const char *text, size_t size, unsigned char *out) {
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, size, (const unsigned char *)text);
    sha256_digest(&sha, SHA256_DIGEST_SIZE, out);
}

reel_status auth_new(const char *key_file, const char *secret_file, int auth_all, struct auth **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct auth *auth;
    char key[SECRET_BYTES_MAX];
    size_t key_size;
    *out = NULL;
    TRY_RETURN(MEM_NEW(&auth, 1, err));
    auth->all = auth_all;
    if (key_file) {
        TRY(read_secret(key_file, KEY_BYTES_MIN, key, &key_size, err));
        digest(key, key_size, auth->key_digest);
        auth->has_key = 1;
    }
    if (secret_file) {
        TRY(read_secret(secret_file, SECRET_BYTES_MIN, auth->secret, &auth->secret_size, err));
        auth->has_secret = 1;
    }
    if (auth_all && !auth->has_key && !auth->has_secret)
        TRY(error_set(err, REEL_INVALID_ARGUMENT, "keys for all requests (--auth-all) need a key or secret file"));
    *out = auth;
    auth = NULL;
cleanup:
    auth_free(auth);
    return status;
}

void auth_free(struct auth *auth) {
    mem_free(auth);
}

/* Digests are compared, so that neither contents nor length of the key show in the time. */
static int key_fits(const struct auth *auth, const char *key) {
    unsigned char theirs[SHA256_DIGEST_SIZE];
    if (!auth->has_key) return 0;
    digest(key, strlen(key), theirs);
    return memeql_sec(theirs, auth->key_digest, sizeof theirs);
}

static enum token_rights bearer_rights(const struct auth *auth, const char *authorization) {
    static const char scheme[] = "Bearer ";
    if (!auth->has_secret || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0) return TOKEN_BAD;
    const char *token = authorization + sizeof scheme - 1;
    while (*token == ' ') token++;
    return token_check(token, auth->secret, auth->secret_size, (long long)time(NULL));
}

/* Whoever shows two credentials must have two good ones. */
static enum token_rights rights_of(const struct auth *auth, const char *authorization, const char *api_key) {
    if (!authorization && !api_key) return TOKEN_BAD;
    if (api_key && !key_fits(auth, api_key)) return TOKEN_BAD;
    enum token_rights bearer = authorization ? bearer_rights(auth, authorization) : TOKEN_ADMIN;
    return api_key && bearer != TOKEN_BAD ? TOKEN_ADMIN : bearer;
}

void auth_check(const struct auth *auth, struct request *request, const char *authorization, const char *api_key) {
    enum access_level access = request->match.route->access;
    if (access == ACCESS_PUBLIC && (!auth->all || route_is_open(request->match.route))) return;
    if (!auth->has_key && !auth->has_secret) {
        request_problem(request, 403, "writing and administering are off: no key is configured");
        return;
    }
    enum token_rights rights = rights_of(auth, authorization, api_key);
    enum token_rights needed = access == ACCESS_ADMIN ? TOKEN_ADMIN : access == ACCESS_WRITE ? TOKEN_WRITE : TOKEN_READ;
    if (rights == TOKEN_BAD) {
        request_header(request, "WWW-Authenticate",
                       authorization ? "Bearer realm=\"reel\", error=\"invalid_token\"" : "Bearer realm=\"reel\"");
        request_problem(request, 401, "this needs a valid key (X-API-Key) or token (Authorization: Bearer)");
    } else if (rights < needed) {
        request_header(request, "WWW-Authenticate", "Bearer realm=\"reel\", error=\"insufficient_scope\"");
        request_problem(request, 403, "the token's scope does not allow this");
    }
}
