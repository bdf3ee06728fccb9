# Run as a script: writes the files of DIR, plain and gzipped, as C arrays to OUT. The version is a hash of all of them;
# index.html gets it in the place of @ASSETS@, so that a changed file has a new address and the old one may be cached
# for ever.
set(types_html "text/html; charset=utf-8")
set(types_js "text/javascript; charset=utf-8")
set(types_css "text/css; charset=utf-8")
set(types_svg "image/svg+xml")

# Hexadecimal digits of a file as a C array; its number of bytes in `size`.
macro(c_array name hex)
  string(LENGTH ${hex} digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," elements ${hex})
  string(APPEND arrays "static const unsigned char ${name}[] = {${elements}};\n")
endmacro()

file(GLOB names RELATIVE ${DIR} ${DIR}/*)
list(SORT names)
set(hashes "")
foreach(name IN LISTS names)
  file(SHA256 ${DIR}/${name} hash)
  string(APPEND hashes ${hash})
endforeach()
string(SHA256 version "${hashes}")
string(SUBSTRING ${version} 0 16 version)

set(arrays "")
set(table "")
set(number 0)
foreach(name IN LISTS names)
  string(REGEX REPLACE ".*\\." "" extension ${name})
  if(NOT DEFINED types_${extension})
    message(FATAL_ERROR "${DIR}/${name}: no content type is known for .${extension} files")
  endif()
  set(file ${DIR}/${name})
  if(name STREQUAL "index.html")
    set(ASSETS /assets/${version})
    set(file ${OUT}.${name})
    configure_file(${DIR}/${name} ${file} @ONLY)
  endif()
  file(READ ${file} plain HEX)
  file(ARCHIVE_CREATE OUTPUT ${OUT}.gz PATHS ${file} FORMAT raw COMPRESSION GZip COMPRESSION_LEVEL 9)
  file(READ ${OUT}.gz gzipped HEX)
  # Bytes 4 to 7 are the time of compression: without it the same page gives the same program.
  string(SUBSTRING ${gzipped} 0 8 head)
  string(SUBSTRING ${gzipped} 16 -1 tail)
  c_array(plain_${number} ${plain})
  string(APPEND table "    {\"${name}\", \"${types_${extension}}\", plain_${number}, ${size},")
  c_array(gzip_${number} ${head}00000000${tail})
  string(APPEND table " gzip_${number}, ${size}},\n")
  math(EXPR number "${number} + 1")
endforeach()

file(WRITE ${OUT} "#include \"serve/page_files.h\"

${arrays}
const char page_version[] = \"${version}\";
const char page_etag[] = \"W/\\\"${version}\\\"\";
const struct page_file page_files[] = {
${table}    {0}};
")
