/* Who may do what. Paths that write or administer need an API key (X-API-Key, all rights) or a JWT signed with HS256
 * (Authorization: Bearer; RFC 7519): `exp` is required, `nbf` is kept, `scope` (RFC 8693, words separated by spaces)
 * must hold "write" or "admin" for writing paths and "admin" for administering ones. Without any key configured those
 * paths are off. Reads are public unless auth_all is set; then any valid key or token will do. */
#ifndef SERVE_AUTH_H
#define SERVE_AUTH_H

#include <stddef.h>
#include "serve/http.h"

struct auth;

/* Files hold the key or secret (surrounding whitespace is cut off); NULL = not configured. A key has 16 bytes at least,
 * a secret 32 (RFC 7518, 3.2). IO, NOT_FOUND, INVALID_ARGUMENT name the file. */
reel_status auth_new(const char *key_file, const char *secret_file, int auth_all, struct auth **out, reel_error *err);
void auth_free(struct auth *auth); /* takes NULL */
/* Answers 401 or 403 where the request's route is not allowed; headers may be NULL. */
void auth_check(const struct auth *auth, struct request *request, const char *authorization, const char *api_key);

enum token_rights { TOKEN_BAD = -1, TOKEN_READ = 0, TOKEN_WRITE = 1, TOKEN_ADMIN = 2 };
/* Rights of a compact JWS at a time (seconds since 1970); TOKEN_BAD for anything but a valid token. */
enum token_rights token_check(const char *token, const void *secret, size_t secret_size, long long now);

#endif
