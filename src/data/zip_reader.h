/* Members of a ZIP archive, unpacked to unlinked temporary files and mapped, so that memory stays bounded. */
#ifndef DATA_ZIP_READER_H
#define DATA_ZIP_READER_H

#include "core/context.h"
#include "core/file.h"

struct zip_reader;

/* 1 if the file begins like a ZIP archive. */
int zip_reader_is_zip(const char *path);
/* UNSUPPORTED in a build without libzip; BAD_INPUT for a broken archive. */
reel_status zip_reader_open(const char *path, struct zip_reader **out, reel_error *err);
void zip_reader_close(struct zip_reader *reader); /* takes NULL */
int64_t zip_reader_count(const struct zip_reader *reader);
/* NULL for an entry without a readable name. */
const char *zip_reader_name(const struct zip_reader *reader, int64_t index);
/* Unpacks one member into $TMPDIR (else /tmp) and maps it. BAD_INPUT for damage, encryption, more than 64 GiB,
 * or more than 200 times its packed size (from 16 MiB on); IO, CANCELLED. */
reel_status zip_reader_extract(reel_context *ctx, const struct zip_reader *reader, int64_t index, const char *shown,
                               struct file_map *map, reel_error *err);

#endif
