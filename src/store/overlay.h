/* The live ratings in memory, by user: what requests read instead of the file. Sharded by user; a reader of a user
 * without live ratings takes no lock, any other one its shard's for the time of a copy. */
#ifndef STORE_OVERLAY_H
#define STORE_OVERLAY_H

#include "store/store.h"

struct overlay;

reel_status overlay_new(struct overlay **out, reel_error *err);
void overlay_free(struct overlay *overlay); /* takes NULL */
/* Makes room for one rating more of this user, so that overlay_settle cannot fail after the commit. */
reel_status overlay_reserve(struct overlay *overlay, int32_t user_id, reel_error *err);
/* Ends one reservation: puts the rating in and changes the user's version, or (NULL) gives it up. */
void overlay_settle(struct overlay *overlay, int32_t user_id, const struct store_rating *rating);
uint64_t overlay_version(const struct overlay *overlay, int32_t user_id);
int64_t overlay_read(const struct overlay *overlay, int32_t user_id, struct store_rating *out, int64_t max);

#endif
