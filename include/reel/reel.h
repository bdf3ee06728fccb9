/* Reel: trains, evaluates and serves movie recommenders on MovieLens-sized data.
 *
 * The mental model: a *dataset* is imported once and never changes; *training* turns a dataset and a
 * few parameters into a *model*, which never changes either; a *scorer* binds the two and answers
 * predictions and recommendations. Everything else (splits, cross-validation, reports) is built on
 * those three. Every handle has a _free that takes NULL; every fallible call returns a reel_status and
 * fills a reel_error. The library keeps no global state and never exits. */
#ifndef REEL_REEL_H
#define REEL_REEL_H

#include <reel/cluster.h>
#include <reel/context.h>
#include <reel/dataset.h>
#include <reel/eval.h>
#include <reel/explore.h>
#include <reel/interchange.h>
#include <reel/model.h>
#include <reel/status.h>

#endif
