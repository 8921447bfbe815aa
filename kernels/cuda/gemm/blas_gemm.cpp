#include <cublasLt.h>

#include <map>
#include <memory>
#include <tuple>

#include "common/base/error.h"
#include "kernels/cuda/gemm/gemm.h"
#include "kernels/op_checks.h"

namespace tessera::kernels::cuda {
namespace {

constexpr std::int64_t kWorkspaceBytes = 32 << 20;  // what cuBLASLt likes to have on sm_90

#define TESSERA_CUBLAS_CHECK(call)                                                             \
  do {                                                                                         \
    const cublasStatus_t tessera_status = (call);                                              \
    TESSERA_CHECK_AS(ErrorCode::kDevice, tessera_status == CUBLAS_STATUS_SUCCESS, #call, ": ", \
                     cublasLtGetStatusName(tessera_status));                                   \
  } while (false)

// Shapes of one product, as cuBLASLt sees it: column-major c^T [n, m] = w [k, n]^T a [k, m].
struct GemmShape {
  std::int64_t n = 0;
  std::int64_t m = 0;
  std::int64_t k = 0;
  std::int64_t w_stride = 0;
  std::int64_t a_stride = 0;
  std::int64_t c_stride = 0;

  auto operator<=>(const GemmShape&) const = default;
};

struct Layout {
  Layout(cudaDataType_t type, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
    TESSERA_CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&handle, type, static_cast<std::uint64_t>(rows),
                                                    static_cast<std::uint64_t>(cols), stride));
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(handle); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

  cublasLtMatrixLayout_t handle = nullptr;
};

// What cuBLASLt chose for a shape.
struct Plan {
  explicit Plan(const GemmShape& shape)
      : w(CUDA_R_16BF, shape.k, shape.n, shape.w_stride),
        a(CUDA_R_16BF, shape.k, shape.m, shape.a_stride),
        c(CUDA_R_32F, shape.n, shape.m, shape.c_stride) {}

  Layout w;
  Layout a;
  Layout c;
  cublasLtMatmulAlgo_t algorithm = {};
};

// Handle, operation and plans of one back end.
class Blas {
 public:
  Blas() {
    TESSERA_CUBLAS_CHECK(cublasLtCreate(&handle_));
    TESSERA_CUBLAS_CHECK(cublasLtMatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    TESSERA_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(operation_, CUBLASLT_MATMUL_DESC_TRANSA,
                                                        &transposed, sizeof transposed));
    TESSERA_CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference_));
    const std::uint64_t workspace = kWorkspaceBytes;
    TESSERA_CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(
        preference_, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace));
  }
  ~Blas() {
    cublasLtMatmulPreferenceDestroy(preference_);
    cublasLtMatmulDescDestroy(operation_);
    cublasLtDestroy(handle_);
  }
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  void multiply(Context& context, const GemmShape& shape, const void* w, const void* a, void* c) {
    const Plan& plan = plan_of(shape);
    const float one = 1.0F;
    const float zero = 0.0F;
    TESSERA_CUBLAS_CHECK(cublasLtMatmul(handle_, operation_, &one, w, plan.w.handle, a,
                                        plan.a.handle, &zero, c, plan.c.handle, c, plan.c.handle,
                                        &plan.algorithm, context.scratch(kWorkspaceBytes),
                                        kWorkspaceBytes, context.stream()));
  }

 private:
  const Plan& plan_of(const GemmShape& shape) {
    std::unique_ptr<Plan>& plan = plans_[shape];
    if (plan != nullptr) return *plan;
    auto made = std::make_unique<Plan>(shape);
    cublasLtMatmulHeuristicResult_t result = {};
    int count = 0;
    TESSERA_CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(
        handle_, operation_, made->w.handle, made->a.handle, made->c.handle, made->c.handle,
        preference_, 1, &result, &count));
    TESSERA_CHECK_AS(ErrorCode::kDevice, count == 1, "cuBLASLt has no product of ", shape.m, " x ",
                     shape.k, " x ", shape.n);
    made->algorithm = result.algo;
    plan = std::move(made);
    return *plan;
  }

  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatmulPreference_t preference_ = nullptr;
  std::map<GemmShape, std::unique_ptr<Plan>> plans_;
};

// What cuBLASLt takes: 16-byte aligned rows.
bool fits(const ConstMatrixView& a, const CudaMatrix& w, const MatrixView& c) {
  const auto aligned = [](const void* data, std::int64_t row_bytes) {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && row_bytes % 16 == 0;
  };
  return w.leaf_cols() * w.shape().k_leaves == w.row_stride() &&
         aligned(a.data, a.row_stride * 2) && aligned(c.data, c.row_stride * 4);
}

}  // namespace

void gemm(Context& context, ConstMatrixView a, const CudaMatrix& w, MatrixView c) {
  if (context.deterministic()) return tile_gemm(context, a, w, c);
  if (prefers_narrow_gemm(context, a, w)) return narrow_gemm(context, a, w, c);
  if (!fits(a, w, c)) return tile_gemm(context, a, w, c);
  check_gemm(a, w.shape(), c, DType::kBFloat16);
  if (a.rows == 0 || w.shape().rows == 0) return;
  context.products<Blas>().multiply(context,
                                    {.n = w.shape().rows,
                                     .m = a.rows,
                                     .k = w.shape().cols,
                                     .w_stride = w.row_stride(),
                                     .a_stride = a.row_stride,
                                     .c_stride = c.row_stride},
                                    w.data(), a.data, c.data);
}

}  // namespace tessera::kernels::cuda
