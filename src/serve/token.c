/* JSON Web Tokens, the one algorithm HS256 (RFC 7515, 7519). */
#include <jansson.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <string.h>

#include "serve/auth.h"

enum { TOKEN_SIZE_MAX = 4096, PART_SIZE_MAX = 3072 };

static int digit_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* base64url without padding and without stray bits (RFC 4648, 3.5); returns the size or -1. */
static int decode_base64url(const char *text, size_t length, unsigned char *out, size_t capacity) {
    unsigned bits = 0;
    int n_bits = 0;
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        int digit = digit_of(text[i]);
        if (digit < 0) return -1;
        bits = bits << 6 | (unsigned)digit;
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        if (used == capacity) return -1;
        out[used++] = (unsigned char)(bits >> n_bits);
        bits &= (1u << n_bits) - 1;
    }
    return n_bits >= 6 || bits ? -1 : (int)used;
}

static json_t *decode_object(const char *text, size_t length) {
    unsigned char bytes[PART_SIZE_MAX];
    int size = decode_base64url(text, length, bytes, sizeof bytes);
    if (size < 0) return NULL;
    /* Claims are flat; a deep object is no token of ours and not worth a parser's stack. */
    int depth = 0;
    for (int i = 0; i < size; i++) depth += bytes[i] == '[' || bytes[i] == '{';
    json_t *object = depth <= 64 ? json_loadb((const char *)bytes, (size_t)size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (json_is_object(object)) return object;
    json_decref(object);
    return NULL;
}

static int signature_fits(const char *token, size_t signed_length, const char *signature, const void *secret,
                          size_t secret_size) {
    struct hmac_sha256_ctx hmac;
    unsigned char ours[SHA256_DIGEST_SIZE], theirs[SHA256_DIGEST_SIZE];
    if (decode_base64url(signature, strlen(signature), theirs, sizeof theirs) != SHA256_DIGEST_SIZE) return 0;
    hmac_sha256_set_key(&hmac, secret_size, secret);
    hmac_sha256_update(&hmac, signed_length, (const unsigned char *)token);
    hmac_sha256_digest(&hmac, sizeof ours, ours);
    return memeql_sec(ours, theirs, sizeof ours);
}

static int has_word(const char *words, const char *word) {
    size_t length = strlen(word);
    for (const char *at = words; at && (at = strstr(at, word)); at++)
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return 1;
    return 0;
}

static enum token_rights rights_of(const json_t *header, const json_t *claims, long long now) {
    const json_t *expires = json_object_get(claims, "exp"), *from = json_object_get(claims, "nbf");
    const char *algorithm = json_string_value(json_object_get(header, "alg"));
    const char *scope = json_string_value(json_object_get(claims, "scope"));
    if (!algorithm || strcmp(algorithm, "HS256") != 0 || json_object_get(header, "crit")) return TOKEN_BAD;
    if (!json_is_number(expires) || json_number_value(expires) <= (double)now) return TOKEN_BAD;
    if (from && (!json_is_number(from) || json_number_value(from) > (double)now)) return TOKEN_BAD;
    return has_word(scope, "admin") ? TOKEN_ADMIN : has_word(scope, "write") ? TOKEN_WRITE : TOKEN_READ;
}

enum token_rights token_check(const char *token, const void *secret, size_t secret_size, long long now) {
    const char *first = strchr(token, '.'), *second = first ? strchr(first + 1, '.') : NULL;
    if (!second || strchr(second + 1, '.') || strlen(token) > TOKEN_SIZE_MAX) return TOKEN_BAD;
    if (!signature_fits(token, (size_t)(second - token), second + 1, secret, secret_size)) return TOKEN_BAD;
    json_t *header = decode_object(token, (size_t)(first - token));
    json_t *claims = decode_object(first + 1, (size_t)(second - first - 1));
    enum token_rights rights = header && claims ? rights_of(header, claims, now) : TOKEN_BAD;
    json_decref(header);
    json_decref(claims);
    return rights;
}
