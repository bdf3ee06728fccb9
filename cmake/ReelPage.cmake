# The web page (src/serve/page/*) as bytes in generated/page_files.c; see src/serve/page_files.h. No tool but CMake.
set(REEL_PAGE_DIR ${CMAKE_CURRENT_SOURCE_DIR}/src/serve/page)
set(REEL_PAGE_SOURCE ${CMAKE_CURRENT_BINARY_DIR}/generated/page_files.c)
file(GLOB page_files CONFIGURE_DEPENDS ${REEL_PAGE_DIR}/*)
add_custom_command(OUTPUT ${REEL_PAGE_SOURCE}
  COMMAND ${CMAKE_COMMAND} -DDIR=${REEL_PAGE_DIR} -DOUT=${REEL_PAGE_SOURCE}
    -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/EmbedPage.cmake
  DEPENDS ${page_files} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/EmbedPage.cmake
  COMMENT "Embedding the web page" VERBATIM)
