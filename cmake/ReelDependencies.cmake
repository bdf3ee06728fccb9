# What the library links: jansson, xxHash, OpenBLAS with LAPACK inside; libzip where it is found (ZIP import); with
# REEL_SERVE libmicrohttpd and SQLite. CMAKE_PREFIX_PATH may point at a folder of static copies; pkg-config, where
# present, gives further hints.
#
# Each dependency becomes an interface target reel_<name> and a row in REEL_LINK_NAMES, from which the pkg-config
# file and the CMake package are written (the interface targets themselves are never exported).
include(CheckFunctionExists)
include(CheckSymbolExists)
find_package(PkgConfig QUIET)
set(REEL_LINK_NAMES) # names as for -l, in link order
set(REEL_LINK_DIRS)  # folders of those that lie outside the linker's own

# reel_find(jansson jansson jansson.h jansson): target reel_<name>, REEL_<NAME>_FOUND in the caller's scope.
function(reel_find name package header)
  string(TOUPPER ${name} upper)
  if(PkgConfig_FOUND)
    pkg_check_modules(PC_${upper} QUIET ${package})
  endif()
  find_path(REEL_${upper}_INCLUDE ${header} HINTS ${PC_${upper}_INCLUDE_DIRS} PATH_SUFFIXES ${name})
  find_library(REEL_${upper}_LIBRARY NAMES ${ARGN} HINTS ${PC_${upper}_LIBRARY_DIRS})
  mark_as_advanced(REEL_${upper}_INCLUDE REEL_${upper}_LIBRARY)
  add_library(reel_${name} INTERFACE)
  set(REEL_${upper}_FOUND 0 PARENT_SCOPE)
  if(NOT REEL_${upper}_INCLUDE OR NOT REEL_${upper}_LIBRARY)
    return()
  endif()
  set(REEL_${upper}_FOUND 1 PARENT_SCOPE)
  target_include_directories(reel_${name} SYSTEM INTERFACE ${REEL_${upper}_INCLUDE})
  target_link_libraries(reel_${name} INTERFACE ${REEL_${upper}_LIBRARY})
endfunction()

# Stops with the package to install; tells apart nothing but "found" and "not found".
function(reel_need name package)
  string(TOUPPER ${name} upper)
  if(NOT REEL_${upper}_FOUND)
    message(FATAL_ERROR "${name} was not found (Debian: apt-get install ${package}; else -DCMAKE_PREFIX_PATH=FOLDER, "
      "-DREEL_${upper}_INCLUDE=FOLDER and -DREEL_${upper}_LIBRARY=FILE)")
  endif()
endfunction()

# Links a dependency that was found and records it for whoever links the static library later.
macro(reel_use name)
  string(TOUPPER ${name} upper)
  target_link_libraries(reel_dependencies INTERFACE reel_${name})
  get_filename_component(folder ${REEL_${upper}_LIBRARY} DIRECTORY)
  get_filename_component(file ${REEL_${upper}_LIBRARY} NAME)
  string(REGEX REPLACE "^lib(.*)\\.(a|so|dylib)[.0-9]*$" "\\1" file ${file})
  reel_link_also(${file} ${folder})
endmacro()
macro(reel_link_also name folder)
  list(APPEND REEL_LINK_NAMES ${name})
  get_filename_component(real_folder "${folder}" REALPATH)
  set(known)
  foreach(directory IN LISTS CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
    get_filename_component(directory ${directory} REALPATH)
    list(APPEND known ${directory})
  endforeach()
  if(NOT real_folder IN_LIST known AND NOT folder IN_LIST REEL_LINK_DIRS)
    list(APPEND REEL_LINK_DIRS ${folder})
  endif()
endmacro()

add_library(reel_dependencies INTERFACE)

reel_find(jansson jansson jansson.h jansson)
reel_need(jansson libjansson-dev)
reel_use(jansson)
reel_find(xxhash libxxhash xxhash.h xxhash)
reel_need(xxhash libxxhash-dev)
reel_use(xxhash)

# cblas.h exists in other packages too: only OpenBLAS's own declares openblas_set_num_threads. A static OpenBLAS
# with Fortran LAPACK inside needs gfortran's run-time library.
reel_find(openblas openblas cblas.h openblas openblasp)
reel_need(openblas libopenblas-dev)
set(CMAKE_REQUIRED_INCLUDES ${REEL_OPENBLAS_INCLUDE})
set(CMAKE_REQUIRED_LIBRARIES ${REEL_OPENBLAS_LIBRARY} Threads::Threads m)
check_symbol_exists(openblas_set_num_threads cblas.h REEL_OPENBLAS_LINKS)
check_function_exists(dsyevd_ REEL_OPENBLAS_HAS_LAPACK)
if(REEL_OPENBLAS_LINKS AND NOT REEL_OPENBLAS_HAS_LAPACK)
  list(APPEND CMAKE_REQUIRED_LIBRARIES gfortran)
  check_function_exists(dsyevd_ REEL_OPENBLAS_NEEDS_GFORTRAN)
endif()
if(NOT REEL_OPENBLAS_LINKS OR NOT (REEL_OPENBLAS_HAS_LAPACK OR REEL_OPENBLAS_NEEDS_GFORTRAN))
  message(FATAL_ERROR "${REEL_OPENBLAS_LIBRARY} with ${REEL_OPENBLAS_INCLUDE}/cblas.h is not an OpenBLAS with LAPACK "
    "that links (Debian: apt-get install libopenblas-dev)")
endif()

reel_use(openblas)
if(REEL_OPENBLAS_NEEDS_GFORTRAN)
  target_link_libraries(reel_dependencies INTERFACE gfortran)
  list(APPEND REEL_LINK_NAMES gfortran)
endif()
unset(CMAKE_REQUIRED_INCLUDES)
unset(CMAKE_REQUIRED_LIBRARIES)

reel_find(zip libzip zip.h zip)
set(REEL_WITH_ZIP ${REEL_ZIP_FOUND})
if(REEL_WITH_ZIP)
  reel_use(zip)
endif()
if(REEL_SERVE)
  reel_find(microhttpd libmicrohttpd microhttpd.h microhttpd)
  reel_need(microhttpd libmicrohttpd-dev)
  reel_use(microhttpd)
  reel_find(sqlite sqlite3 sqlite3.h sqlite3)
  reel_need(sqlite libsqlite3-dev)
  reel_use(sqlite)
endif()
if(REEL_WITH_CUDA)
  target_link_libraries(reel_dependencies INTERFACE CUDA::cudart_static)
  reel_link_also(cudart_static ${CUDAToolkit_LIBRARY_DIR})
  list(APPEND REEL_LINK_NAMES dl rt)
endif()
target_link_libraries(reel_dependencies INTERFACE Threads::Threads m)
list(APPEND REEL_LINK_NAMES pthread m)
message(STATUS "Reel: ZIP import ${REEL_WITH_ZIP}, HTTP service ${REEL_SERVE}")
