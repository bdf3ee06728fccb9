/* JSON Schemas that several routes share, as text. JSON(...) turns its argument into a string, so that schemas read
 * as what they are. */
#ifndef SERVE_SCHEMAS_H
#define SERVE_SCHEMAS_H

#define JSON(...) #__VA_ARGS__

/* clang-format off */
#define SCHEMA_ID       JSON({"type":"integer","minimum":0,"maximum":2147483647})
#define SCHEMA_COUNT    JSON({"type":"integer","minimum":0})
#define SCHEMA_PATH_ID  JSON({"type":"integer","minimum":0,"maximum":9007199254740991})
#define SCHEMA_STARS    JSON({"type":"number","minimum":0.5,"maximum":5,"multipleOf":0.5})
#define SCHEMA_SCORE    JSON({"type":"number","minimum":0.5,"maximum":5})
#define SCHEMA_TEXTS    JSON({"type":"array","items":{"type":"string"}})
#define SCHEMA_TEXT     JSON({"type":"string"})
#define SCHEMA_NUMBER_OR_NULL JSON({"type":["number","null"]})
#define SCHEMA_INT_OR_NULL    JSON({"type":["integer","null"]})
#define SCHEMA_MODEL_NAME     JSON({"type":"string","pattern":"^[a-z0-9_-]{1,32}$"})

/* Properties "a","b" of which all must be there and no other may. */
#define SCHEMA_OBJECT(required_keys, properties)                                                         \
    JSON({"type":"object","additionalProperties":false,"required":[) required_keys JSON(],"properties":{) \
    properties JSON(}})
#define SCHEMA_LIST(items) JSON({"type":"array","items":) items JSON(})

#define MOVIE_KEYS       JSON("id","title","genres")
#define MOVIE_PROPERTIES JSON("id":) SCHEMA_ID JSON(,"title":) SCHEMA_TEXT JSON(,"genres":) SCHEMA_TEXTS
/* clang-format on */

#endif
