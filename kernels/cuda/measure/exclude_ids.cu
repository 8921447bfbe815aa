#include "kernels/cuda/measure/exclude_ids.h"

#include "kernels/cuda/device/kernel_order.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/view.h"

namespace tessera::kernels::cuda {
namespace {

constexpr int kExcludingThreads = 256;

__global__ __launch_bounds__(kExcludingThreads) void soft_cap_kernel(RowsView<float> logits,
                                                                     float cap) {
  const std::int64_t col =
      std::int64_t{blockIdx.y} * kExcludingThreads + static_cast<int>(threadIdx.x);
  begin_in_order();
  if (col >= logits.cols) return;
  float& logit = logits.row(blockIdx.x)[col];
  logit = cap * tanhf(logit / cap);
}

__global__ __launch_bounds__(kExcludingThreads) void exclude_ids_kernel(RowsView<float> logits,
                                                                        VocabularyShard vocabulary,
                                                                        const Measure* measures) {
  begin_in_order();
  const Measure measure = measures[blockIdx.x];
  float* row = logits.row(blockIdx.x);
  const int cols = static_cast<int>(logits.cols);
  const int thread = static_cast<int>(threadIdx.x);
  const int tail = min(cols, max(0, vocabulary.tokenizer_size - vocabulary.first_id));
  for (int col = tail + thread; col < cols; col += kExcludingThreads) row[col] = -INFINITY;
  if (thread != 0) return;
  const int mask = vocabulary.mask_id - vocabulary.first_id;
  const int penalised = measure.penalised_id - vocabulary.first_id;
  if (penalised >= 0 && penalised < tail) row[penalised] -= measure.penalty;
  if (vocabulary.mask_id >= 0 && mask >= 0 && mask < cols) row[mask] = -INFINITY;
}

}  // namespace

void soft_cap(Context& context, MatrixView logits, float cap) {
  launch(&soft_cap_kernel,
         {.grid_x = logits.rows,
          .grid_y = (logits.cols + kExcludingThreads - 1) / kExcludingThreads,
          .threads = kExcludingThreads,
          .shared_bytes = 0,
          .starts_early = true},
         context.stream(), rows_view<float>(logits), cap);
}

void exclude_ids(Context& context,
                 MatrixView logits,
                 const VocabularyShard& vocabulary,
                 const Measure* measures) {
  launch(&exclude_ids_kernel,
         {.grid_x = logits.rows,
          .grid_y = 1,
          .threads = kExcludingThreads,
          .shared_bytes = 0,
          .starts_early = true},
         context.stream(), rows_view<float>(logits), vocabulary, measures);
}

}  // namespace tessera::kernels::cuda
