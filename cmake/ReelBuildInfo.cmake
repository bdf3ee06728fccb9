# generated/reel_build.h: version, commit and what was compiled in. The commit is looked up at every build.
set(REEL_BUILD_HEADER ${CMAKE_CURRENT_BINARY_DIR}/generated/reel_build.h)
add_custom_target(reel_build_info
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_CURRENT_SOURCE_DIR} -DOUT=${REEL_BUILD_HEADER}
    -DVERSION=${PROJECT_VERSION} -DWITH_CUDA=${REEL_WITH_CUDA} -DWITH_EMULATION=${REEL_CUDA_EMULATED} -DWITH_ZIP=${REEL_WITH_ZIP}
    -DWITH_SERVE=$<BOOL:${REEL_SERVE}> -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/WriteBuildInfo.cmake
  BYPRODUCTS ${REEL_BUILD_HEADER} VERBATIM)
cmake_language(DEFER CALL add_dependencies reel_objects reel_build_info)
