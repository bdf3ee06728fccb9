# Warnings, sanitizers and the flags that determinism needs, as one interface target.
# -Wno-psabi: wide vector types pass only between static inline functions, so their calling convention is moot.
add_library(reel_flags INTERFACE)
target_compile_options(reel_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-Wall;-Wextra;-Wpedantic;-Wconversion;-Werror;-Wno-psabi;-ffp-contract=off;-fno-math-errno;-fno-omit-frame-pointer>)
target_compile_definitions(reel_flags INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE _FILE_OFFSET_BITS=64)
find_package(Threads REQUIRED)
target_link_libraries(reel_flags INTERFACE Threads::Threads m)

set(REEL_SANITIZE_FLAGS)
if(REEL_SANITIZE)
  set(REEL_SANITIZE_FLAGS -fsanitize=${REEL_SANITIZE} -fno-sanitize-recover=all)
  target_compile_options(reel_flags INTERFACE $<$<COMPILE_LANGUAGE:C>:${REEL_SANITIZE_FLAGS}>)
  target_link_options(reel_flags INTERFACE ${REEL_SANITIZE_FLAGS})
  # gcc's checks get in the way of its range analysis: (uint8_t)(i % 255) "may change value" under UBSan. The plain
  # builds keep the warning.
  if(CMAKE_C_COMPILER_ID STREQUAL GNU)
    target_compile_options(reel_flags INTERFACE $<$<COMPILE_LANGUAGE:C>:-Wno-conversion>)
  endif()
endif()
if(REEL_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "REEL_FUZZ needs clang (found ${CMAKE_C_COMPILER_ID})")
  endif()
  target_compile_options(reel_flags INTERFACE $<$<COMPILE_LANGUAGE:C>:-fsanitize=fuzzer-no-link>)
endif()
