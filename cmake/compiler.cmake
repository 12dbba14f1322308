# Compiler, warnings, linker, and the check that refuses a compiler whose coroutines are broken.

# gcc 12 destroys a capturing lambda temporary inside a co_await expression twice; the program in the
# test counts constructions and destructions and fails where they differ.
if(NOT DEFINED MILLRACE_COROUTINES_OK)
  try_run(MILLRACE_CORO_RUN MILLRACE_CORO_COMPILED
    ${CMAKE_BINARY_DIR}/coroutine_check SOURCES ${CMAKE_SOURCE_DIR}/cmake/coroutine_check.cpp
    CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON)
  if(NOT MILLRACE_CORO_COMPILED OR NOT MILLRACE_CORO_RUN EQUAL 0)
    message(FATAL_ERROR
      "${CMAKE_CXX_COMPILER} miscompiles coroutines (a temporary inside a co_await expression is destroyed "
      "twice, or the check did not build). Use clang 19: apt-get install clang-19, then cmake --preset release.")
  endif()
  set(MILLRACE_COROUTINES_OK TRUE CACHE INTERNAL "the coroutine check passed")
endif()

add_library(millrace_options INTERFACE)
target_compile_options(millrace_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wno-unused-parameter
  -Wno-missing-field-initializers -fno-strict-aliasing)
target_compile_definitions(millrace_options INTERFACE FMT_HEADER_ONLY=0 SPDLOG_FMT_EXTERNAL=1)
target_include_directories(millrace_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
# Some packages add it to what uses them; all rooms share one precompiled header, and so the flag.
target_compile_options(millrace_options INTERFACE -pthread)
if(MILLRACE_SANITIZE)
  # The checks of virtual calls and of objects' sizes find little that the address sanitizer does not, and cost a third
  # of the compile time (27 s against 18 for the largest source of tracking).
  target_compile_options(millrace_options INTERFACE -fsanitize=${MILLRACE_SANITIZE} -fno-sanitize=vptr,object-size
    -fno-omit-frame-pointer)
  string(REPLACE ",fuzzer-no-link" "" link_sanitize "${MILLRACE_SANITIZE}")
  target_link_options(millrace_options INTERFACE -fsanitize=${link_sanitize})
endif()
find_program(LLD ld.lld-19)
if(LLD)
  target_link_options(millrace_options INTERFACE -fuse-ld=${LLD})
endif()
