#include <cstdint>

#include "kernels/cuda/attention/attention_softmax.cuh"
#include "kernels/cuda/attention/attention_tile.cuh"
#include "kernels/cuda/attention/attention_variant.h"
#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/kernel_order.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/phase_barrier.h"
#include "kernels/cuda/device/warpgroup_unit.h"

namespace tessera::kernels::cuda {
namespace {

// Two warpgroups make 64 queries each, from the same keys; a third one loads what they read.
template <int kDimOf, int kKeysOf, int kStagesOf>
struct GroupShape {
  static constexpr int kDim = kDimOf;
  static constexpr int kKeys = kKeysOf;  // of a stage
  static constexpr int kStages = kStagesOf;
  static constexpr int kGroups = 2;
  static constexpr int kQueries = kGroups * 64;
  static constexpr int kMultiplyWarps = kGroups * 4;
  static constexpr int kLoadWarps = 4;
  static constexpr int kThreads = (kMultiplyWarps + kLoadWarps) * kWarpSize;
  static constexpr int kOutCols = kDim;
  static constexpr int kProductCols = kDim < 128 ? kDim : 128;  // of sums that one product makes
  static_assert(kOutCols % kProductCols == 0);
  static constexpr int kStageElements = 2 * kKeys * kDim;
  static constexpr int kBarriers = 2 * kStages + 1;
  static constexpr int kSharedBytes = SharedMemory::bytes_of<Bf16>(kQueries * kDim) +
                                      SharedMemory::bytes_of<Bf16>(kStages * kStageElements) +
                                      SharedMemory::bytes_of<std::uint64_t>(kBarriers);
};

#ifdef TESSERA_HAS_WARPGROUP_UNIT
// 65536 registers of a multiprocessor, for 128 and 256 threads.
constexpr int kLoadRegisters = 72;
constexpr int kMultiplyRegisters = 216;

// What the warps of a CTA share.
template <typename Shape>
class Shared {
 public:
  __device__ Shared()
      : queries_(memory_.take<Bf16>(Shape::kQueries * Shape::kDim)),
        stages_(memory_.take<Bf16>(Shape::kStages * Shape::kStageElements)),
        barriers_(memory_.take<std::uint64_t>(Shape::kBarriers)) {}

  // By one thread.
  __device__ void init() const {
    for (int stage = 0; stage < Shape::kStages; ++stage) {
      is_full(stage).init(Shape::kLoadWarps * kWarpSize);
      is_free(stage).init(Shape::kMultiplyWarps);
    }
    are_queries_read().init(Shape::kMultiplyWarps);
  }

  __device__ SharedSpan<Bf16> queries() const { return queries_; }
  __device__ SharedSpan<Bf16> keys(int stage) const {
    return stages_ + stage * Shape::kStageElements;
  }
  __device__ SharedSpan<Bf16> values(int stage) const {
    return keys(stage) + Shape::kKeys * Shape::kDim;
  }
  __device__ PhaseBarrier is_full(int stage) const { return PhaseBarrier(barriers_ + stage); }
  __device__ PhaseBarrier is_free(int stage) const {
    return PhaseBarrier(barriers_ + (Shape::kStages + stage));
  }
  // Of an item that has keys.
  __device__ PhaseBarrier are_queries_read() const {
    return PhaseBarrier(barriers_ + 2 * Shape::kStages);
  }

 private:
  SharedMemory memory_;
  SharedSpan<Bf16> queries_;
  SharedSpan<Bf16> stages_;
  SharedSpan<std::uint64_t> barriers_;
};

// The key tiles of an item, one after the other.
template <typename Shape>
class Tiles {
 public:
  __device__ Tiles(const AttentionKernelArgs& args, const PlanItem& item)
      : window_(args, item),
        end_((item.key_end + Shape::kKeys - 1) / Shape::kKeys),
        tile_(next_tile<Shape::kKeys>(window_, item.key_begin / Shape::kKeys, end_)) {}

  __device__ const KeyWindow& window() const { return window_; }
  __device__ bool at_end() const { return tile_ >= end_; }
  __device__ Position first_key() const { return tile_ * Shape::kKeys; }
  __device__ void advance() { tile_ = next_tile<Shape::kKeys>(window_, tile_ + 1, end_); }

 private:
  KeyWindow window_;
  int end_;
  int tile_;
};

// --- the loading warpgroup ---

// Two CTAs that read the same keys keep pace, so that what one has read is in L2 for the other. A
// hint: what a twin says may be of another launch, and no one waits for it long.
class Pace {
 public:
  // By one thread, as everything else.
  __device__ void begin(const AttentionKernelArgs& args, const PlanItem& item, int work) {
    const int twin = work + item.twin * args.num_kv_heads;
    const auto num_ctas = static_cast<int>(gridDim.x);
    waits_ = work / num_ctas == twin / num_ctas && max(work, twin) < kPacedWork;
    distance_ = waits_ ? item.twin * args.num_kv_heads : 0;
    tell(args, work, 0);
  }

  __device__ void keep(const AttentionKernelArgs& args, int work, int tile) {
    if (distance_ == 0 || tile % kStep != 0) return;
    tell(args, work, tile);
    const volatile int& twin = args.progress[work + distance_];
    for (int i = 0; waits_ && twin < tile - kStep; ++i) waits_ = i < kMostPolls;
  }

  __device__ void end(const AttentionKernelArgs& args, int work) const { tell(args, work, kDone); }

 private:
  static constexpr int kStep = 4;  // tiles
  static constexpr int kMostPolls = 16;
  static constexpr int kDone = 1 << 30;

  __device__ void tell(const AttentionKernelArgs& args, int work, int tile) const {
    if (distance_ == 0) return;
    volatile int& mine = args.progress[work];
    mine = tile;
  }

  bool waits_ = false;
  int distance_ = 0;  // to the twin; 0: there is none, or it runs at another time
};

// Each warp loads a run of keys of a tile: lane i finds where key i lies, and all copy.
template <typename Shape>
class Loader {
 public:
  __device__ Loader(const AttentionKernelArgs& args, const Shared<Shape>& shared)
      : args_(args), shared_(shared), first_key_(warp_index() % Shape::kLoadWarps * kWarpKeys) {}

  __device__ void run_item(const PlanItem& item, int work) {
    const int kv_head = work % args_.num_kv_heads;
    const bool keeps_pace = threadIdx.x % (Shape::kLoadWarps * kWarpSize) == 0;
    Pace pace;
    if (keeps_pace) pace.begin(args_, item, work);
    int num_tiles = 0;
    Tiles<Shape> tiles(args_, item);
    bool is_first = true;
    PageId page = page_of(item.span, tiles);
    while (!tiles.at_end()) {
      if (keeps_pace) pace.keep(args_, work, num_tiles);
      __syncwarp();
      ++num_tiles;
      shared_.is_free(ring_.stage).wait(ring_.parity ^ 1U);
      bool is_async = load_keys(item.span, tiles, kv_head, page);
      tiles.advance();
      page = page_of(item.span, tiles);
      if (is_first) {
        shared_.are_queries_read().wait(queries_parity_);
        queries_parity_ ^= 1U;
        constexpr int kThreads = Shape::kLoadWarps * kWarpSize;
        load_queries<Shape::kQueries, Shape::kDim, kThreads>(
            args_, item, kv_head, static_cast<int>(threadIdx.x) % kThreads, shared_.queries());
        is_async = is_async && args_.q_aligned;
        is_first = false;
      }
      if (is_async) {
        shared_.is_full(ring_.stage).arrive_with_copies();
      } else {
        async_commit();
        async_wait<0>();
        shared_.is_full(ring_.stage).arrive_as_threads();
      }
      ring_.advance();
    }
    if (keeps_pace) pace.end(args_, work);
  }

 private:
  static constexpr int kWarpKeys = Shape::kKeys / Shape::kLoadWarps;
  static constexpr int kPieces = Shape::kDim / 8;  // of a row, 16 bytes each
  static constexpr int kKeysAtOnce = kWarpSize / kPieces;
  static_assert(kWarpKeys <= kWarpSize && kWarpKeys % 8 == 0 && 8 % kKeysAtOnce == 0);

  // Rows of a warp that may lie at equal distances.
  struct Run {
    const Bf16* first;
    std::int64_t stride;  // elements
    bool is_run;
  };

  __device__ Position key_of_lane(const Tiles<Shape>& tiles) const {
    return tiles.first_key() + first_key_ + lane_index() % kWarpKeys;
  }

  // The page of this lane's key, asked for one tile ahead.
  __device__ PageId page_of(const PlanSpan& span, const Tiles<Shape>& tiles) const {
    const Position p = key_of_lane(tiles);
    if (tiles.at_end() || !tiles.window().is_cached(p)) return 0;
    const int index = args_.page_shift >= 0 ? p >> args_.page_shift : p / args_.page_size;
    return __ldg(args_.page_table + span.first_page + index);
  }

  // True if all of it are async copies.
  __device__ bool load_keys(const PlanSpan& span,
                            const Tiles<Shape>& tiles,
                            int kv_head,
                            PageId page) const {
    const KeySource mine =
        key_source(args_, span, tiles.window(), page, kv_head, key_of_lane(tiles), /*col=*/0);
    const Run k = run_of(mine.k);
    const Run v = run_of(mine.v);
    const bool simple = mine.aligned && mine.count == Shape::kDim && k.is_run && v.is_run;
    if (__all_sync(kAllLanes, simple ? 1 : 0) != 0) {
      load_runs(k, v);
      return true;
    }
    load_each(mine);
    return __all_sync(kAllLanes, mine.aligned ? 1 : 0) != 0;
  }

  // Keys of one page, or new rows.
  __device__ void load_runs(const Run& k, const Run& v) const {
    const Bf16* k_from = k.first + row_of_lane() * k.stride + col_of_lane();
    const Bf16* v_from = v.first + row_of_lane() * v.stride + col_of_lane();
    const int place = panel_offset(Shape::kKeys, row_of_lane(), col_of_lane());
    const SharedSpan<Bf16> keys = shared_.keys(ring_.stage) + first_key_ * 64;
    const SharedSpan<Bf16> values = shared_.values(ring_.stage) + first_key_ * 64;
#pragma unroll
    for (int i = 0; i < kWarpKeys; i += kKeysAtOnce) {
      const int offset = (place ^ (i % 8 * 8)) + i * 64;  // panel_offset() of row i + row_of_lane()
      async_copy_16(keys + offset, k_from);
      async_copy_16(values + offset, v_from);
      k_from += kKeysAtOnce * k.stride;
      v_from += kKeysAtOnce * v.stride;
    }
  }

  __device__ void load_each(const KeySource& mine) const {
#pragma unroll 1
    for (int i = 0; i < kWarpKeys; i += kKeysAtOnce) {
      const int lane = i + row_of_lane();
      const int count = __shfl_sync(kAllLanes, mine.count, lane) - col_of_lane();
      const bool aligned = __shfl_sync(kAllLanes, mine.aligned ? 1 : 0, lane) != 0;
      const int offset = panel_offset(Shape::kKeys, first_key_ + lane, col_of_lane());
      load_piece(shared_.keys(ring_.stage) + offset, source_of(mine.k, lane) + col_of_lane(), count,
                 aligned);
      load_piece(shared_.values(ring_.stage) + offset, source_of(mine.v, lane) + col_of_lane(),
                 count, aligned);
    }
  }

  __device__ static int row_of_lane() {
    return lane_index() / kPieces;
  }
  __device__ static int col_of_lane() {
    return lane_index() % kPieces * 8;
  }

  __device__ static unsigned long long address_of_lane(const Bf16* mine, int lane) {
    return __shfl_sync(kAllLanes, reinterpret_cast<unsigned long long>(mine), lane);
  }
  __device__ static const Bf16* source_of(const Bf16* mine, int lane) {
    return reinterpret_cast<const Bf16*>(address_of_lane(mine, lane));
  }

  __device__ static Run run_of(const Bf16* mine) {
    const unsigned long long first = address_of_lane(mine, 0);
    const auto stride = static_cast<std::int64_t>(address_of_lane(mine, 1) - first);
    const auto own = static_cast<std::int64_t>(reinterpret_cast<unsigned long long>(mine) - first);
    return {reinterpret_cast<const Bf16*>(first), stride / static_cast<std::int64_t>(sizeof(Bf16)),
            own == lane_index() % kWarpKeys * stride};
  }

  const AttentionKernelArgs& args_;
  const Shared<Shape>& shared_;
  int first_key_;  // of a tile
  RingPlace<Shape::kStages> ring_;
  unsigned queries_parity_ = 1;  // the first find free memory
};

// --- the multiplying warpgroups ---

// What has been loaded is there for products.
template <typename Shape>
__device__ void wait_for_stage(const Shared<Shape>& shared, const RingPlace<Shape::kStages>& ring) {
  shared.is_full(ring.stage).wait(ring.parity);
  publish_to_products();
}

// scores = q k^T, of 64 queries and one stage of keys.
template <typename Shape>
__device__ void begin_scores(SharedSpan<Bf16> queries,
                             SharedSpan<Bf16> keys,
                             float (&scores)[Shape::kKeys / 8][4]) {
#pragma unroll
  for (int i = 0; i < Shape::kDim / 16; ++i) {
    const int col = i % 4 * 16;
    multiply_rows<Shape::kKeys>(scores, queries + (i / 4 * Shape::kQueries * 64 + col),
                                keys + (i / 4 * Shape::kKeys * 64 + col), /*adds=*/i > 0);
  }
  commit_products();
}

// sums += weights v.
template <typename Shape>
__device__ void begin_values(SharedSpan<Bf16> values,
                             const std::uint32_t (&weights)[Shape::kKeys / 16][4],
                             float (&sums)[Shape::kOutCols / 8][4]) {
  constexpr int kFragments = Shape::kProductCols / 8;
#pragma unroll
  for (int i = 0; i < Shape::kKeys / 16; ++i) {
#pragma unroll
    for (int part = 0; part < Shape::kDim / Shape::kProductCols; ++part) {
      auto& of_part = reinterpret_cast<float(&)[kFragments][4]>(sums[part * kFragments]);
      multiply_cols<Shape::kProductCols>(
          of_part, weights[i], values + (part * Shape::kProductCols * Shape::kKeys + i * 16 * 64),
          Shape::kKeys);
    }
  }
  commit_products();
}

// Scores of products become what the softmax takes.
template <typename Shape>
__device__ void finish_scores(const AttentionKernelArgs& args,
                              const Tiles<Shape>& tiles,
                              const QueryView (&views)[2],
                              float (&scores)[Shape::kKeys / 8][4]) {
  if (args.sign_flip != 0) {
#pragma unroll
    for (int i = 0; i < Shape::kKeys / 8; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) scores[i][j] = -scores[i][j];
    }
  }
  const Position first = tiles.first_key();
  if (!tiles.window().all_of(first, first + Shape::kKeys)) {
    hide_unseen<Shape>(tiles.window(), views, first, scores);
  }
}

// The softmax of a tile is made while the values of the one before it are multiplied, and while the
// other warpgroup multiplies.
template <typename Shape>
__device__ void multiply_item(const AttentionKernelArgs& args,
                              const Shared<Shape>& shared,
                              const PlanItem& item,
                              int kv_head,
                              int group,
                              RingPlace<Shape::kStages>& ring) {
  const int first_query = warp_index() * 16;
  const SharedSpan<Bf16> queries = shared.queries() + group * 64 * 64;
  const QueryView views[2] = {query_view(args, item, first_query + lane_index() / 4),
                              query_view(args, item, first_query + lane_index() / 4 + 8)};
  // Unknown to the compiler, which otherwise makes one register of two that must be apart.
  const std::uint32_t zero = args.sign_flip & 1U;
  Tiles<Shape> tiles(args, item);
  RunningSoftmax<Shape> softmax;
  if (!tiles.at_end()) {
    float scores[Shape::kKeys / 8][4];
    std::uint32_t weights[Shape::kKeys / 16][4];
    wait_for_stage(shared, ring);
    begin_products(scores);
    begin_scores<Shape>(queries, shared.keys(ring.stage), scores);
    finish_products(scores);
    finish_scores(args, tiles, views, scores);
    softmax.weigh(args.scale, scores, weights);
    tiles.advance();
    while (!tiles.at_end()) {
      const int stage = ring.stage;
      ring.advance();
      wait_for_stage(shared, ring);
      begin_products(scores, weights, softmax.sums());
      begin_scores<Shape>(queries, shared.keys(ring.stage), scores);
      begin_values<Shape>(shared.values(stage), weights, softmax.sums());
      finish_products<1>(scores);
      finish_scores(args, tiles, views, scores);
      std::uint32_t next_weights[Shape::kKeys / 16][4];
      softmax.weigh(args.scale, scores, next_weights);
      finish_products(weights, softmax.sums());
      shared.is_free(stage).arrive_as_warp();
      softmax.shrink();
#pragma unroll
      for (int i = 0; i < Shape::kKeys / 16; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) weights[i][j] = next_weights[i][j] | zero;
      }
      tiles.advance();
    }
    shared.are_queries_read().arrive_as_warp();
    begin_products(weights, softmax.sums());
    begin_values<Shape>(shared.values(ring.stage), weights, softmax.sums());
    finish_products(weights, softmax.sums());
    shared.is_free(ring.stage).arrive_as_warp();
    ring.advance();
  }
  softmax.finish();
  store_result<Shape>(args, item, kv_head, first_query, /*first_col=*/0, softmax);
}

// What a warpgroup without queries does.
template <typename Shape>
__device__ void pass_item(const AttentionKernelArgs& args,
                          const Shared<Shape>& shared,
                          const PlanItem& item,
                          RingPlace<Shape::kStages>& ring) {
  Tiles<Shape> tiles(args, item);
  if (tiles.at_end()) return;
  for (; !tiles.at_end(); tiles.advance()) {
    shared.is_full(ring.stage).wait(ring.parity);
    shared.is_free(ring.stage).arrive_as_warp();
    ring.advance();
  }
  shared.are_queries_read().arrive_as_warp();
}
#endif

// CTAs share the items, each for every KV head. Keys lie in tiles of kKeys, aligned to absolute
// positions.
template <typename Shape>
__global__ __launch_bounds__(Shape::kThreads, 1) void warpgroup_attention_kernel(
    const __grid_constant__ AttentionKernelArgs args) {
#ifdef TESSERA_HAS_WARPGROUP_UNIT
  const Shared<Shape> shared;
  if (threadIdx.x == 0) shared.init();
  __syncthreads();
  release_next_kernel();
  const int num_work = args.header->num_items * args.num_kv_heads;
  auto work = static_cast<int>(blockIdx.x);
  // Equal on all lanes, as the compiler must see before it lets products run on.
  const int group = __shfl_sync(kAllLanes, warp_index() / 4, 0);
  if (group >= Shape::kGroups) {
    give_registers<kLoadRegisters>();
    Loader<Shape> loader(args, shared);
    for (; work < num_work; work = next_work(work)) {
      loader.run_item(args.items[work / args.num_kv_heads], work);
    }
  } else {
    take_registers<kMultiplyRegisters>();
    RingPlace<Shape::kStages> ring;
    for (; work < num_work; work = next_work(work)) {
      const PlanItem& item = args.items[work / args.num_kv_heads];
      if (group * 64 < item.num_queries) {
        multiply_item(args, shared, item, work % args.num_kv_heads, group, ring);
      } else {
        pass_item(args, shared, item, ring);
      }
    }
  }
#endif
}

template <int kDim, int kKeys, int kStages>
AttentionVariant variant() {
  using Shape = GroupShape<kDim, kKeys, kStages>;
  return {&warpgroup_attention_kernel<Shape>,
          {.threads = Shape::kThreads, .shared_bytes = Shape::kSharedBytes},
          Shape::kQueries};
}

}  // namespace

AttentionVariant warpgroup_variant(int head_dim) {
  if (head_dim <= 64) return variant<64, 128, 5>();
  if (head_dim <= 128) return variant<128, 128, 3>();
  return variant<256, 64, 2>();
}

}  // namespace tessera::kernels::cuda
