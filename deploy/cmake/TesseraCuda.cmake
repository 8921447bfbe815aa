# CUDA: the language, the architectures and the flags of every .cu file.
include_guard()

# What is left unset would become sm_75. PTX of the newest for GPUs that come after.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
endif()
# CMake 3.25 does not know nvcc's C++20.
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(TESSERA_RECORD_REGISTERS ${CMAKE_CURRENT_LIST_DIR}/record_registers.sh)
if(NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${TESSERA_RECORD_REGISTERS})
  if(CCACHE)
    list(APPEND CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
endif()
find_package(CUDAToolkit 13 REQUIRED)

# A kernel that spills registers is an error, as every warning is.
add_library(tessera_cuda_flags INTERFACE)
target_compile_options(tessera_cuda_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -lineinfo
    -Xptxas=-v -Xptxas=--warn-on-spills $<$<BOOL:${TESSERA_WERROR}>:-Werror=all-warnings -Xptxas=-Werror>>)
