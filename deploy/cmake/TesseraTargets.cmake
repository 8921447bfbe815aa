# The flags of every target, the packages used, and the helpers that declare tests.
include_guard()

add_library(tessera_flags INTERFACE)
target_compile_options(tessera_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${TESSERA_WERROR}>>:-Werror>)
if(TESSERA_SANITIZE)
  target_compile_options(tessera_flags INTERFACE
    -fsanitize=${TESSERA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  target_link_options(tessera_flags INTERFACE -fsanitize=${TESSERA_SANITIZE})
endif()
if(CMAKE_UNITY_BUILD OR TESSERA_UNITY_TESTS)
  # A class that uses a file-local one is in an included file now, and yet in one program once.
  target_compile_options(tessera_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()

# Sanitizer builds: how their tests are called and what they are told. TSan does not see inside
# libzmq, which is not built with it, and would report its lock-free queues.
set(TESSERA_TEST_PREFIX "")
set(TESSERA_TEST_ENVIRONMENT "")
if(TESSERA_SANITIZE STREQUAL "thread")
  set(TESSERA_TEST_PREFIX "tsan.")
  set(TESSERA_TEST_ENVIRONMENT "TSAN_OPTIONS=ignore_noninstrumented_modules=1")
  # Boost.Asio has fences, which TSan does not see and GCC therefore warns of. What they order is
  # also ordered by Asio's mutexes.
  target_compile_options(tessera_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-tsan>)
elseif(TESSERA_SANITIZE)
  set(TESSERA_TEST_PREFIX "asan.")
  set(TESSERA_TEST_ENVIRONMENT "ASAN_OPTIONS=detect_stack_use_after_return=1")
endif()

find_package(Threads REQUIRED)
if(NOT TESSERA_KERNELS_ONLY)
  find_package(PkgConfig REQUIRED)
endif()

# tessera_test(NAME common_decoding_test LABEL cpu SOURCES a_test.cpp LIBRARIES tessera_decoding)
# One executable per tests/ folder; every TEST in it is a CTest case with that label.
function(tessera_test)
  cmake_parse_arguments(ARG "" "NAME;LABEL;TIMEOUT" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LIBRARIES} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${ARG_NAME} PRIVATE TESSERA_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # What a test checks is optimised, the test itself need not be: that halves its compilation. At
  # -Og GCC 12 takes variables that are set under a condition for unset.
  target_compile_options(${ARG_NAME} PRIVATE -Og -Wno-maybe-uninitialized)
  gtest_discover_tests(${ARG_NAME} DISCOVERY_TIMEOUT 60
    TEST_PREFIX "${TESSERA_TEST_PREFIX}"
    PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT "${TESSERA_TEST_ENVIRONMENT}")
endfunction()
