#pragma once

#include <cuda_runtime_api.h>

#include "common/base/error.h"

/// Evaluates a CUDA runtime call. @throws Error{kDevice} naming the call and what CUDA says.
#define TESSERA_CUDA_CHECK(call)                                                                  \
  do {                                                                                            \
    const cudaError_t tessera_status = (call);                                                    \
    TESSERA_CHECK_AS(::tessera::ErrorCode::kDevice, tessera_status == cudaSuccess, #call, ": ",   \
                     cudaGetErrorName(tessera_status), ", ", cudaGetErrorString(tessera_status)); \
  } while (false)
