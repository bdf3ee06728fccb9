/* A user as requests see one: the dataset's ratings with the live ones of the store laid over them. */
#ifndef SERVE_USER_RATINGS_H
#define SERVE_USER_RATINGS_H

#include "serve/service.h"

struct user_ratings {
    int64_t user_id;
    int32_t user; /* dataset index, -1 = known from live ratings only */
    int live;     /* 1: live ratings were laid over */
    int64_t n;
    int32_t *movies;     /* (n,) dataset indices, ascending */
    float *stars;        /* (n,) */
    uint8_t *half_stars; /* (n,) */
};

/* 1 if the user has live ratings or deletions: then scores come from folding the ratings in. */
int user_has_live(const struct service *service, int64_t user_id);
/* NOT_FOUND for a user whom neither the dataset nor the store knows; NO_MEMORY. Live ratings of movies that the
 * dataset lacks are passed over. */
reel_status user_ratings_load(const struct service *service, const struct snapshot *snapshot, int64_t user_id,
                              struct user_ratings *out, reel_error *err);
void user_ratings_free(struct user_ratings *ratings); /* takes a zeroed struct */
/* Half stars of a movie, 0 = not rated. */
int user_ratings_find(const struct user_ratings *ratings, int32_t movie);

#endif
