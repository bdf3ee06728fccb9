# cmake --install: program, both libraries, headers, pkg-config file, CMake package.
install(TARGETS reel RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS reel_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS reel_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/reel DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
