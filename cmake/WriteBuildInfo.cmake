# Run as a script: writes OUT only when its text changes.
set(COMMIT unknown)
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
  OUTPUT_VARIABLE revision RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT failed)
  set(COMMIT ${revision})
endif()
set(text "#ifndef REEL_BUILD_H
#define REEL_BUILD_H
#define REEL_VERSION \"${VERSION}\"
#define REEL_BUILD_COMMIT \"${COMMIT}\"
#define REEL_WITH_CUDA ${WITH_CUDA}
#define REEL_WITH_EMULATION ${WITH_EMULATION} /* \"cuda\" is the tests' emulator */
#define REEL_WITH_ZIP ${WITH_ZIP}
#define REEL_WITH_SERVE ${WITH_SERVE}
#endif
")
set(old "")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
