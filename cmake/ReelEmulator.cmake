# REEL_CUDA=EMULATED: the files of kernels/cuda, translated (tests/emulator/translate.py) and compiled for the CPU, with
# tests/emulator in place of the CUDA runtime. Sets REEL_EMULATED_OBJECTS. No other value of REEL_CUDA comes here.
enable_language(CXX)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(emulator ${CMAKE_CURRENT_SOURCE_DIR}/tests/emulator)
set(translated ${CMAKE_CURRENT_BINARY_DIR}/emulated)

file(GLOB cuda_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/kernels/cuda/*.cu
  ${CMAKE_CURRENT_SOURCE_DIR}/kernels/cuda/*.h)
file(GLOB emulator_sources CONFIGURE_DEPENDS ${emulator}/*.cc)
set(translated_files)
foreach(source IN LISTS cuda_files)
  file(RELATIVE_PATH name ${CMAKE_CURRENT_SOURCE_DIR} ${source})
  string(REGEX REPLACE "\\.cu$" ".cu.cc" name ${name})
  add_custom_command(OUTPUT ${translated}/${name}
    COMMAND ${Python3_EXECUTABLE} ${emulator}/translate.py ${source} ${translated}/${name}
    DEPENDS ${source} ${emulator}/translate.py VERBATIM)
  list(APPEND translated_files ${translated}/${name})
endforeach()

add_library(reel_emulated OBJECT ${translated_files} ${emulator_sources})
# Translated headers first: a file that includes "kernels/cuda/x.h" must see that one.
target_include_directories(reel_emulated PRIVATE ${translated} ${emulator}/include ${emulator}
  ${CMAKE_CURRENT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_definitions(reel_emulated PRIVATE REEL_CUDA_EMULATED=1)
# Races on shared memory: kernels tell of every access (tests/emulator/races.cc). Not beside another sanitizer, and with
# gcc only, whose calls are the ones that are answered there.
if(NOT REEL_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_definitions(reel_emulated PRIVATE EMULATED_RACES=1)
  set_source_files_properties(${translated_files} ${translated}/test_emulator.cu.cc PROPERTIES
    COMPILE_OPTIONS "-fsanitize=thread;-Wno-tsan")
endif()
target_compile_options(reel_emulated PRIVATE -std=c++20 -O2 -g -Wall -Wextra -Werror -Wno-unknown-pragmas
  -Wno-missing-field-initializers -Wno-deprecated-enum-enum-conversion -Wno-unused-function -Wno-maybe-uninitialized -fno-exceptions -fno-rtti -fno-threadsafe-statics
  -fno-strict-aliasing -ffp-contract=off -fno-math-errno -fno-omit-frame-pointer ${REEL_SANITIZE_FLAGS})
# fmaf as an instruction; without it the tests take four times as long.
include(CheckCSourceRuns)
check_c_source_runs("int main(void) { return !(__builtin_cpu_supports(\"avx2\") && __builtin_cpu_supports(\"fma\")); }"
  REEL_HOST_HAS_FMA)
if(REEL_HOST_HAS_FMA)
  target_compile_options(reel_emulated PRIVATE -mavx2 -mfma)
endif()
target_link_libraries(reel_emulated PRIVATE reel_flags)
set(REEL_EMULATED_OBJECTS $<TARGET_OBJECTS:reel_emulated>)

# The emulator's own test, label "emulator".
if(REEL_TESTS)
  set(source ${emulator}/test_emulator.cu)
  add_custom_command(OUTPUT ${translated}/test_emulator.cu.cc
    COMMAND ${Python3_EXECUTABLE} ${emulator}/translate.py ${source} ${translated}/test_emulator.cu.cc
    DEPENDS ${source} ${emulator}/translate.py VERBATIM)
  add_executable(test_emulator ${translated}/test_emulator.cu.cc ${emulator_sources})
  target_include_directories(test_emulator PRIVATE ${emulator}/include ${emulator} ${CMAKE_CURRENT_SOURCE_DIR})
  target_compile_options(test_emulator PRIVATE $<TARGET_PROPERTY:reel_emulated,COMPILE_OPTIONS>)
  target_compile_definitions(test_emulator PRIVATE $<TARGET_PROPERTY:reel_emulated,COMPILE_DEFINITIONS>)
  target_link_libraries(test_emulator PRIVATE reel_flags)
endif()
