#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention/attention_tile.cuh"
#include "kernels/cuda/device/bfloat16.h"
#include "kernels/cuda/device/exponential.h"
#include "kernels/cuda/device/target.h"

/// What a thread of an attention kernel does with scores and sums of its two queries, in the
/// fragments of matrix_unit.h. A Shape has kKeys, of a tile, and kOutCols, of a warp's sums.
namespace tessera::kernels::cuda {

// The softmax of a thread's two queries so far, and their weighted values.
template <typename Shape>
class RunningSoftmax {
 public:
  using Sums = float[Shape::kOutCols / 8][4];

  __device__ RunningSoftmax() {
#pragma unroll
    for (int i = 0; i < Shape::kOutCols / 8; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums_[i][j] = 0.0F;
    }
  }

  // Turns scores, -inf where a query does not see the key, into weights, as the left side of a
  // product: pairs of neighbours, rounded. shrink() follows before they are multiplied by values.
  __device__ void weigh(float scale,
                        float (&scores)[Shape::kKeys / 8][4],
                        std::uint32_t (&weights)[Shape::kKeys / 16][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = top_[half];
#pragma unroll
      for (int i = 0; i < Shape::kKeys / 8; ++i) {
        top = fmaxf(top, fmaxf(scores[i][2 * half], scores[i][2 * half + 1]));
      }
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
      // A query that has seen nothing stays at sums of zero.
      const float base = top == -INFINITY ? 0.0F : top * scale;
      // Exactly 1 where the tile has nothing for the query: tiles of others do not change a bit.
      shrink_[half] = top_[half] == top ? 1.0F : fast_exp2((top_[half] - top) * scale);
      top_[half] = top;
      float total = total_[half] * shrink_[half];
#pragma unroll
      for (int i = 0; i < Shape::kKeys / 8; ++i) {
        const std::uint32_t pair =
            pack_bf16(fast_exp2(fmaf(scores[i][2 * half], scale, -base)),
                      fast_exp2(fmaf(scores[i][2 * half + 1], scale, -base)));
        // What is summed is what values are multiplied by.
        total += low_of(pair) + high_of(pair);
        weights[i / 2][i % 2 * 2 + half] = pair;
      }
      total_[half] = total;
    }
  }

  // Brings the sums to the largest score of weigh().
  __device__ void shrink() {
    if (__all_sync(kAllLanes, shrink_[0] == 1.0F && shrink_[1] == 1.0F)) return;
#pragma unroll
    for (int i = 0; i < Shape::kOutCols / 8; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums_[i][j] *= shrink_[j / 2];
    }
  }

  // Adds up what the four threads of a query have.
  __device__ void finish() {
#pragma unroll
    for (float& total : total_) {
      total += __shfl_xor_sync(kAllLanes, total, 1);
      total += __shfl_xor_sync(kAllLanes, total, 2);
    }
  }

  __device__ float top(int half) const {
    return top_[half];
  }
  __device__ float total(int half) const {
    return total_[half];
  }
  __device__ float sum(int fragment, int i) const {
    return sums_[fragment][i];
  }
  __device__ Sums& sums() {
    return sums_;
  }

 private:
  float top_[2] = {-INFINITY, -INFINITY};
  float total_[2] = {0.0F, 0.0F};
  float shrink_[2] = {1.0F, 1.0F};
  Sums sums_;
};

template <typename Shape>
__device__ void hide_unseen(const KeyWindow& window,
                            const QueryView (&views)[2],
                            Position first,
                            float (&scores)[Shape::kKeys / 8][4]) {
#pragma unroll
  for (int i = 0; i < Shape::kKeys / 8; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const Position p = first + i * 8 + lane_index() % 4 * 2 + j % 2;
      const QueryView& view = views[j / 2];
      if (!window.sees(view.oldest, view.fresh_end, p)) scores[i][j] = -INFINITY;
    }
  }
}

template <typename Shape>
__device__ void store_result(const AttentionKernelArgs& args,
                             const PlanItem& item,
                             int kv_head,
                             int first_query,
                             int first_col,
                             const RunningSoftmax<Shape>& softmax) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = first_query + lane_index() / 4 + half * 8;
    if (query >= item.num_queries) continue;
    const float total = softmax.total(half);
    const int lane_col = first_col + lane_index() % 4 * 2;
    if (item.first_partial < 0) {
      const QueryPlace place =
          query_place(args, item.span.first_row, item.first_query + query, kv_head);
      Bf16* out = args.out.row(place.row) + place.col;
      const float factor = total > 0.0F ? 1.0F / total : 0.0F;
#pragma unroll
      for (int i = 0; i < Shape::kOutCols / 8; ++i) {
        const int col = lane_col + i * 8;
        if (col >= args.head_dim) continue;
        store_pair(out + col, softmax.sum(i, 2 * half) * factor,
                   softmax.sum(i, 2 * half + 1) * factor);
      }
      continue;
    }
    const std::int64_t partial =
        std::int64_t{item.first_partial + query} * args.num_kv_heads + kv_head;
    if (lane_col == 0) args.partial_stats[partial] = {softmax.top(half) * args.scale, total};
    float* sums = args.partial_sums + partial * args.head_dim;
#pragma unroll
    for (int i = 0; i < Shape::kOutCols / 8; ++i) {
      const int col = lane_col + i * 8;
      if (col >= args.head_dim) continue;
      *reinterpret_cast<float2*>(sums + col) = {softmax.sum(i, 2 * half),
                                                softmax.sum(i, 2 * half + 1)};
    }
  }
}

}  // namespace tessera::kernels::cuda
