#include "kernels/cuda/rows/row_ops.h"

#include "common/base/error.h"
#include "kernels/cuda/device/activation.h"
#include "kernels/cuda/device/kernel_order.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/device/view.h"
#include "kernels/cuda/device/warp.h"
#include "kernels/op_checks.h"

namespace tessera::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kCtaCols = kThreads * kVector;  // columns that a CTA covers at once
constexpr int kMaxPasses = 16;                // rows of up to 16384 columns stay in registers

__device__ float4 sum_of(float4 a, float4 b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}

__device__ float round_to_bf16(float value) {
  return to_float(to_bf16(value));
}

struct NormArgs {
  const float* delta;  // [rows, cols] or null
  std::int64_t delta_stride;
  float* x;  // [rows, cols]; written if there is a delta
  std::int64_t x_stride;
  const float* weight;  // [cols] or null: ones
  void* out;            // [rows, cols]
  std::int64_t out_stride;
  std::int64_t cols;
  float eps;
  bool aligned;
};

// One CTA a row, which stays in registers between the sum of squares and the scaling.
// @tparam kOnce  Rounded once, at the end; else before the weight, too.
template <typename Out, bool kOnce, int kPasses>
__global__ __launch_bounds__(kThreads) void norm_kernel(const NormArgs args) {
  SharedMemory memory;
  const SharedSpan<float> scratch = memory.take<float>(kWarps);
  const std::int64_t row = blockIdx.x;
  float* x = args.x + row * args.x_stride;
  begin_in_order();
  float4 values[kPasses];
  float squares = 0.0F;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    const std::int64_t col = (pass * kThreads + static_cast<int>(threadIdx.x)) * kVector;
    float4 value = load_vector(x, col, args.cols, args.aligned);
    if (args.delta != nullptr) {
      const float* delta = args.delta + row * args.delta_stride;
      value = sum_of(value, load_vector(delta, col, args.cols, args.aligned));
      store_vector(x, col, args.cols, args.aligned, value);
    }
    squares += value.x * value.x + value.y * value.y + value.z * value.z + value.w * value.w;
    values[pass] = value;
  }
  const float mean = cta_sum<kThreads>(squares, scratch) / static_cast<float>(args.cols);
  const float scale = rsqrtf(mean + args.eps);
  const auto scaled = [&](float value, float weight) {
    return weight * (kOnce ? value * scale : round_to_bf16(value * scale));
  };
  Out* out = static_cast<Out*>(args.out) + row * args.out_stride;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    const std::int64_t col = (pass * kThreads + static_cast<int>(threadIdx.x)) * kVector;
    if (col >= args.cols) continue;
    float4 weight{1.0F, 1.0F, 1.0F, 1.0F};
    if (args.weight != nullptr) weight = load_vector(args.weight, col, args.cols, args.aligned);
    const float4 value = values[pass];
    store_vector(out, col, args.cols, args.aligned,
                 {scaled(value.x, weight.x), scaled(value.y, weight.y), scaled(value.z, weight.z),
                  scaled(value.w, weight.w)});
  }
}

template <typename Out, bool kOnce>
void launch_norm(Context& context, std::int64_t rows, const NormArgs& args) {
  TESSERA_REQUIRE(args.cols <= kMaxPasses * kCtaCols, "rms_norm: rows of ", args.cols,
                  " columns; at most ", kMaxPasses * kCtaCols);
  const LaunchShape shape{.grid_x = rows,
                          .threads = kThreads,
                          .shared_bytes = SharedMemory::bytes_of<float>(kWarps),
                          .starts_early = true};
  const std::int64_t passes = (args.cols + kCtaCols - 1) / kCtaCols;
  const auto kernel = passes <= 1   ? &norm_kernel<Out, kOnce, 1>
                      : passes <= 2 ? &norm_kernel<Out, kOnce, 2>
                      : passes <= 4 ? &norm_kernel<Out, kOnce, 4>
                      : passes <= 8 ? &norm_kernel<Out, kOnce, 8>
                                    : &norm_kernel<Out, kOnce, kMaxPasses>;
  launch(kernel, shape, context.stream(), args);
}

__global__ __launch_bounds__(kThreads) void scale_kernel(RowsView<float> x,
                                                         float factor,
                                                         bool aligned) {
  const std::int64_t col =
      (std::int64_t{blockIdx.y} * kThreads + static_cast<int>(threadIdx.x)) * kVector;
  begin_in_order();
  if (col >= x.cols) return;
  float* row = x.row(blockIdx.x);
  const float4 value = load_vector(row, col, x.cols, aligned);
  store_vector(row, col, x.cols, aligned,
               {value.x * factor, value.y * factor, value.z * factor, value.w * factor});
}

// A CTA makes kCtaCols columns of a row.
__global__ __launch_bounds__(kThreads) void act_mul_kernel(Activation activation,
                                                           RowsView<const float> gate_up,
                                                           RowsView<Bf16> out,
                                                           bool aligned) {
  const std::int64_t col =
      (std::int64_t{blockIdx.y} * kThreads + static_cast<int>(threadIdx.x)) * kVector;
  begin_in_order();
  if (col >= out.cols) return;
  const float* row = gate_up.row(blockIdx.x);
  const float4 gate = load_vector(row, col, out.cols, aligned);
  const float4 up = load_vector(row + out.cols, col, out.cols, aligned);
  store_vector(out.row(blockIdx.x), col, out.cols, aligned,
               {activate(activation, gate.x) * up.x, activate(activation, gate.y) * up.y,
                activate(activation, gate.z) * up.z, activate(activation, gate.w) * up.w});
}

__global__ __launch_bounds__(kThreads) void add_kernel(RowsView<float> sum,
                                                       RowsView<const float> x,
                                                       bool aligned) {
  const std::int64_t col =
      (std::int64_t{blockIdx.y} * kThreads + static_cast<int>(threadIdx.x)) * kVector;
  begin_in_order();
  if (col >= sum.cols) return;
  float* row = sum.row(blockIdx.x);
  store_vector(row, col, sum.cols, aligned,
               sum_of(load_vector(row, col, sum.cols, aligned),
                      load_vector(x.row(blockIdx.x), col, sum.cols, aligned)));
}

__global__ __launch_bounds__(kThreads) void gather_kernel(RowsView<const float> x,
                                                          const std::int64_t* rows,  // [out rows]
                                                          RowsView<float> out,
                                                          bool aligned) {
  const std::int64_t col =
      (std::int64_t{blockIdx.y} * kThreads + static_cast<int>(threadIdx.x)) * kVector;
  begin_in_order();
  if (col >= out.cols) return;
  store_vector(out.row(blockIdx.x), col, out.cols, aligned,
               load_vector(x.row(rows[blockIdx.x]), col, out.cols, aligned));
}

// A CTA makes kCtaCols sums; a thread has its elements of all parts in flight at once.
template <int kParts>
__global__ __launch_bounds__(kThreads) void sum_parts_kernel(RowsView<const float> parts,
                                                             float* out,
                                                             bool aligned) {
  const std::int64_t col =
      (std::int64_t{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x)) * kVector;
  begin_in_order();
  if (col >= parts.cols) return;
  float4 values[kParts];
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    values[part] = load_vector(parts.row(part), col, parts.cols, aligned);
  }
  // The branches of for_each_branch.
#pragma unroll
  for (int distance = 1; distance < kParts; distance *= 2) {
#pragma unroll
    for (int left = 0; left < kParts; left += 2 * distance) {
      values[left] = sum_of(values[left], values[left + distance]);
    }
  }
  store_vector(out, col, parts.cols, aligned, values[0]);
}

LaunchShape elementwise(const MatrixView& out) {
  return {.grid_x = out.rows,
          .grid_y = (out.cols + kCtaCols - 1) / kCtaCols,
          .threads = kThreads,
          .shared_bytes = 0,
          .starts_early = true};
}

}  // namespace

void rms_norm(
    Context& context, ConstMatrixView x, std::span<const float> weight, float eps, MatrixView out) {
  check_rms_norm(x, weight, out, DType::kBFloat16);
  // The kernel writes x only if there is a delta.
  launch_norm<Bf16, false>(
      context, x.rows,
      {.delta = nullptr,
       .delta_stride = 0,
       .x = const_cast<float*>(static_cast<const float*>(x.data)),
       .x_stride = x.row_stride,
       .weight = weight.data(),
       .out = out.data,
       .out_stride = out.row_stride,
       .cols = x.cols,
       .eps = eps,
       .aligned = is_aligned(x) && is_aligned(out) && is_aligned(weight.data())});
}

void add_rms_norm(Context& context,
                  MatrixView residual,
                  ConstMatrixView delta,
                  std::span<const float> weight,
                  float eps,
                  MatrixView out) {
  check_same_shape("add_rms_norm", residual, delta);
  check_rms_norm(residual, weight, out, DType::kBFloat16);
  launch_norm<Bf16, false>(context, residual.rows,
                           {.delta = static_cast<const float*>(delta.data),
                            .delta_stride = delta.row_stride,
                            .x = static_cast<float*>(residual.data),
                            .x_stride = residual.row_stride,
                            .weight = weight.data(),
                            .out = out.data,
                            .out_stride = out.row_stride,
                            .cols = residual.cols,
                            .eps = eps,
                            .aligned = is_aligned(residual) && is_aligned(delta) &&
                                       is_aligned(out) && is_aligned(weight.data())});
}

void rms_norm_once(
    Context& context, ConstMatrixView x, std::span<const float> weight, float eps, MatrixView out) {
  check_rms_norm_once(x, weight, out, DType::kBFloat16);
  const NormArgs args{.delta = nullptr,
                      .delta_stride = 0,
                      .x = const_cast<float*>(static_cast<const float*>(x.data)),
                      .x_stride = x.row_stride,
                      .weight = weight.empty() ? nullptr : weight.data(),
                      .out = out.data,
                      .out_stride = out.row_stride,
                      .cols = x.cols,
                      .eps = eps,
                      .aligned = is_aligned(x) && is_aligned(out) && is_aligned(weight.data())};
  if (out.dtype == DType::kFloat32) {
    launch_norm<float, true>(context, x.rows, args);
  } else {
    launch_norm<Bf16, true>(context, x.rows, args);
  }
}

void scale(Context& context, MatrixView x, float factor) {
  check_scale(x);
  launch(&scale_kernel, elementwise(x), context.stream(), rows_view<float>(x), factor,
         is_aligned(x));
}

void act_mul(Context& context, Activation activation, ConstMatrixView gate_up, MatrixView out) {
  check_act_mul(gate_up, out, DType::kBFloat16);
  const bool aligned = is_aligned(gate_up) && is_aligned(out) && out.cols % kVector == 0;
  launch(&act_mul_kernel, elementwise(out), context.stream(), activation,
         rows_view<const float>(gate_up), rows_view<Bf16>(out), aligned);
}

void add(Context& context, MatrixView sum, ConstMatrixView x) {
  check_same_shape("add", sum, x);
  launch(&add_kernel, elementwise(sum), context.stream(), rows_view<float>(sum),
         rows_view<const float>(x), is_aligned(sum) && is_aligned(x));
}

void gather_rows(Context& context,
                 ConstMatrixView x,
                 std::span<const std::int64_t> rows,
                 MatrixView out) {
  check_gather_rows(x, rows, out);
  launch(&gather_kernel, elementwise(out), context.stream(), rows_view<const float>(x),
         context.stage(rows), rows_view<float>(out), is_aligned(x) && is_aligned(out));
}

void sum_parts(Context& context, ConstMatrixView parts, std::span<float> out) {
  check_sum_parts(parts, out);
  const LaunchShape shape{.grid_x = (parts.cols + kCtaCols - 1) / kCtaCols,
                          .grid_y = 1,
                          .threads = kThreads,
                          .shared_bytes = 0,
                          .starts_early = true};
  const auto kernel = parts.rows == 1   ? &sum_parts_kernel<1>
                      : parts.rows == 2 ? &sum_parts_kernel<2>
                      : parts.rows == 4 ? &sum_parts_kernel<4>
                                        : &sum_parts_kernel<8>;
  launch(kernel, shape, context.stream(), rows_view<const float>(parts), out.data(),
         is_aligned(parts) && is_aligned(out.data()));
}

}  // namespace tessera::kernels::cuda
