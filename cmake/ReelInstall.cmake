# cmake --install: the program, both libraries, headers, the pkg-config file and the CMake package. The package is
# written here rather than exported, so that no interface target of this build leaks into it: a user of the shared
# library needs nothing else, a user of the static one links REEL_LINK_NAMES by name.
include(CMakePackageConfigHelpers)

set(REEL_PC_LIBS_PRIVATE)
foreach(directory IN LISTS REEL_LINK_DIRS)
  string(APPEND REEL_PC_LIBS_PRIVATE " -L${directory}")
endforeach()
foreach(name IN LISTS REEL_LINK_NAMES)
  string(APPEND REEL_PC_LIBS_PRIVATE " -l${name}")
endforeach()
string(STRIP "${REEL_PC_LIBS_PRIVATE}" REEL_PC_LIBS_PRIVATE)
# Paths in reel.pc follow the file itself, so that an installed tree may be moved.
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} OUTPUT_VARIABLE pc_dir)
cmake_path(APPEND pc_dir pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${pc_dir} OUTPUT_VARIABLE REEL_PC_PREFIX)
configure_file(${CMAKE_CURRENT_LIST_DIR}/reel.pc.in ${CMAKE_CURRENT_BINARY_DIR}/install/reel.pc @ONLY)

set(REEL_SHARED_FILE ${CMAKE_SHARED_LIBRARY_PREFIX}reel${CMAKE_SHARED_LIBRARY_SUFFIX})
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/reel)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/reelConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/install/reelConfig.cmake INSTALL_DESTINATION ${package_dir}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/install/reelConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)

install(TARGETS reel RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS reel_shared reel_static
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/reel DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/install/reel.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/install/reelConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/install/reelConfigVersion.cmake DESTINATION ${package_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
