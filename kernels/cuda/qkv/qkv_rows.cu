#include "kernels/cuda/qkv/qkv_rows.h"

#include "kernels/cuda/device/kernel_order.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/device/view.h"
#include "kernels/cuda/device/warp.h"
#include "kernels/op_checks.h"

namespace tessera::kernels::cuda {
namespace {

constexpr int kThreads = 128;

// Bytes moved for each element of a row: 4 in, 2 out, and 2 more for K and V that are stored.
struct QkvKernelArgs {
  RowsView<const float> qkv;
  const float* bias;    // or null
  const float* q_norm;  // or null
  const float* k_norm;  // or null
  float eps;
  RowsView<const float> rope;  // cols: rotary width
  const Position* positions;   // [rows]
  const std::int64_t* slots;   // [rows]
  RowsView<Bf16> q;
  RowsView<Bf16> k;
  RowsView<Bf16> v;
  Bf16* k_pages;
  Bf16* v_pages;
  int num_q_heads;
  int num_kv_heads;
  int head_dim;
  bool value_from_key;
  bool value_norm;
};

// kWidth neighbours of a row: 4, or 1 for head sizes and rotary widths that 4 does not divide.
template <int kWidth>
struct Piece {
  float values[kWidth];
};

template <int kWidth>
__device__ Piece<kWidth> load_piece(const float* from, bool aligned) {
  if constexpr (kWidth == kVector) {
    const float4 x = load_vector(from, 0, kVector, aligned);
    return {{x.x, x.y, x.z, x.w}};
  } else {
    return {{*from}};
  }
}

template <int kWidth>
__device__ void store_piece(Bf16* to, bool aligned, const Piece<kWidth>& piece) {
  const float* x = piece.values;
  if constexpr (kWidth == kVector) {
    store_vector(to, 0, kVector, aligned, {x[0], x[1], x[2], x[3]});
  } else {
    *to = to_bf16(*x);
  }
}

// The two pieces of a head that a lane holds at once: a rotary pair, or two neighbours of those
// that pass. Every piece of a head belongs to one unit.
struct Unit {
  int first;
  int second;
};

template <int kWidth>
__device__ Unit unit_of(int index, int rotary) {
  const int half = rotary / 2;
  if (index * kWidth < half) return {index * kWidth, index * kWidth + half};
  return {2 * index * kWidth, (2 * index + 1) * kWidth};
}

// A head in the registers of kLanes lanes: kPasses units each. Pieces behind its end are zeros.
template <int kWidth, int kPasses>
struct HeadPart {
  Piece<kWidth> pieces[kPasses][2];
};

// Cosines and sines of a lane's rotary pairs.
template <int kWidth, int kPasses>
struct Turn {
  Piece<kWidth> cosine[kPasses];
  Piece<kWidth> sine[kPasses];
};

template <int kWidth, int kLanes, int kPasses, bool kAligned>
class HeadLanes {
 public:
  using Part = HeadPart<kWidth, kPasses>;

  __device__ explicit HeadLanes(const QkvKernelArgs& args)
      : args_(args), lane_(static_cast<int>(threadIdx.x) % kLanes) {}

  // visit(pass, side, col) for every piece of this lane that the head has.
  template <typename Visit>
  __device__ void for_each_piece(const Visit& visit) const {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const Unit unit = unit_of<kWidth>(pass * kLanes + lane_, rotary());
      if (unit.first < args_.head_dim) visit(pass, 0, unit.first);
      if (unit.second < args_.head_dim) visit(pass, 1, unit.second);
    }
  }

  __device__ void load(const float* head, Part& part) const {
#pragma unroll
    for (auto& unit : part.pieces) {
      for (auto& piece : unit) piece = {};
    }
    for_each_piece([&](int pass, int side, int col) {
      part.pieces[pass][side] = load_piece<kWidth>(head + col, kAligned);
    });
  }

  __device__ void add_bias(const float* bias, Part& part) const {
    for_each_piece([&](int pass, int side, int col) {
      const auto term = load_piece<kWidth>(bias + col, kAligned);
      for (int i = 0; i < kWidth; ++i) part.pieces[pass][side].values[i] += term.values[i];
    });
  }

  // 1 / sqrt(mean(x^2) + eps); called by whole warps.
  __device__ float norm_scale(const Part& part) const {
    float squares = 0.0F;
#pragma unroll
    for (const auto& unit : part.pieces) {
      for (const auto& piece : unit) {
        for (const float x : piece.values) squares += x * x;
      }
    }
#pragma unroll
    for (int distance = kLanes / 2; distance > 0; distance /= 2) {
      squares += __shfl_xor_sync(kAllLanes, squares, distance);
    }
    return rsqrtf(squares / static_cast<float>(args_.head_dim) + args_.eps);
  }

  __device__ void normalise(float scale, const float* weight, Part& part) const {
    for_each_piece([&](int pass, int side, int col) {
      const auto factor = load_piece<kWidth>(weight + col, kAligned);
      for (int i = 0; i < kWidth; ++i) {
        float& x = part.pieces[pass][side].values[i];
        x = x * scale * factor.values[i];
      }
    });
  }

  __device__ void scale(float factor, Part& part) const {
#pragma unroll
    for (auto& unit : part.pieces) {
      for (auto& piece : unit) {
        for (float& x : piece.values) x *= factor;
      }
    }
  }

  __device__ void load_turn(Position position, Turn<kWidth, kPasses>& turn) const {
    const float* table = args_.rope.row(position);
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const int col = (pass * kLanes + lane_) * kWidth;
      if (col >= rotary() / 2) continue;
      turn.cosine[pass] = load_piece<kWidth>(table + col, kAligned);
      turn.sine[pass] = load_piece<kWidth>(table + rotary() / 2 + col, kAligned);
    }
  }

  __device__ void rotate(const Turn<kWidth, kPasses>& turn, Part& part) const {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      if ((pass * kLanes + lane_) * kWidth >= rotary() / 2) continue;
      for (int i = 0; i < kWidth; ++i) {
        float& low = part.pieces[pass][0].values[i];
        float& high = part.pieces[pass][1].values[i];
        const float cosine = turn.cosine[pass].values[i];
        const float sine = turn.sine[pass].values[i];
        const float turned = low * cosine - high * sine;
        high = high * cosine + low * sine;
        low = turned;
      }
    }
  }

  __device__ void store(Bf16* head, const Part& part) const {
    for_each_piece([&](int pass, int side, int col) {
      store_piece(head + col, kAligned, part.pieces[pass][side]);
    });
  }

 private:
  __device__ int rotary() const {
    return static_cast<int>(args_.rope.cols);
  }

  const QkvKernelArgs& args_;
  int lane_;
};

// A CTA makes heads of one row (blockIdx.x); kLanes lanes make kHeads of them, whose loads are all
// on their way before the first is used.
// @tparam kAligned  Every row and vector that is read begins on 16 bytes, those written on 8.
template <int kWidth, int kLanes, int kPasses, int kHeads, bool kAligned>
__global__ __launch_bounds__(kThreads) void qkv_kernel(const __grid_constant__ QkvKernelArgs args) {
  constexpr int kGroups = kThreads / kLanes;
  const HeadLanes<kWidth, kLanes, kPasses, kAligned> lanes(args);
  const std::int64_t row = blockIdx.x;
  const int first =
      static_cast<int>(blockIdx.y) * kGroups * kHeads + static_cast<int>(threadIdx.x) / kLanes;
  const int first_v = args.num_q_heads + args.num_kv_heads;
  const int end = first_v + args.num_kv_heads;
  // Where the input of a head lies.
  const auto column = [&](int head) {
    const bool shares = args.value_from_key && head >= first_v;
    return (shares ? head - args.num_kv_heads : head) * args.head_dim;
  };
  begin_in_order();
  HeadPart<kWidth, kPasses> parts[kHeads];
#pragma unroll
  for (int i = 0; i < kHeads; ++i) {
    const int head = first + i * kGroups;
    if (head < end) lanes.load(args.qkv.row(row) + column(head), parts[i]);
  }
  Turn<kWidth, kPasses> turn = {};
  if (args.rope.cols > 0) lanes.load_turn(args.positions[row], turn);
  const std::int64_t slot = args.slots[row];
#pragma unroll
  for (int i = 0; i < kHeads; ++i) {
    const int head = first + i * kGroups;
    if (head < end && args.bias != nullptr) {
      lanes.add_bias(args.bias + column(head), parts[i]);
    }
    const float scale = lanes.norm_scale(parts[i]);
    if (head >= end) continue;
    const bool is_q = head < args.num_q_heads;
    if (head < first_v) {
      const float* weight = is_q ? args.q_norm : args.k_norm;
      if (weight != nullptr) lanes.normalise(scale, weight, parts[i]);
      if (args.rope.cols > 0) lanes.rotate(turn, parts[i]);
    } else if (args.value_norm) {
      lanes.scale(scale, parts[i]);
    }
    if (is_q) {
      lanes.store(args.q.row(row) + head * args.head_dim, parts[i]);
      continue;
    }
    const bool is_k = head < first_v;
    const std::int64_t col = (head - (is_k ? args.num_q_heads : first_v)) * args.head_dim;
    lanes.store((is_k ? args.k : args.v).row(row) + col, parts[i]);
    if (slot >= 0)
      lanes.store((is_k ? args.k_pages : args.v_pages) + slot * args.k.cols + col, parts[i]);
  }
}

struct Variant {
  void (*kernel)(QkvKernelArgs);
  int heads;  // of a CTA
};

template <int kWidth, int kLanes, int kPasses, int kHeads>
constexpr Variant variant(bool aligned) {
  return {aligned ? &qkv_kernel<kWidth, kLanes, kPasses, kHeads, true>
                  : &qkv_kernel<kWidth, kLanes, kPasses, kHeads, false>,
          kThreads / kLanes * kHeads};
}

// The order of sums, and so bits, depends on the model alone, not on alignment.
Variant choose(int head_dim, std::int64_t rotary, bool aligned) {
  if (head_dim % kVector != 0 || rotary % (2 * kVector) != 0) return variant<1, 32, 8, 1>(false);
  const int units = (head_dim / kVector + 1) / 2;
  if (units <= 8) return variant<kVector, 8, 1, 2>(aligned);
  if (units <= 16) return variant<kVector, 16, 1, 2>(aligned);
  if (units <= 32) return variant<kVector, 32, 1, 2>(aligned);
  return variant<kVector, 32, 2, 1>(aligned);
}

// Null for an empty array.
const float* data_of(std::span<const float> values) {
  return values.empty() ? nullptr : values.data();
}

template <typename View>
bool on_8_bytes(const View& view) {
  return reinterpret_cast<std::uintptr_t>(view.data) % 8 == 0 && view.row_stride % 4 == 0;
}

}  // namespace

void qk_norm_rope_store(Context& context, const QkvArgs& args) {
  check_qkv(args, DType::kBFloat16, DType::kBFloat16);
  const QkvKernelArgs kernel_args{.qkv = rows_view<const float>(args.qkv),
                                  .bias = data_of(args.bias),
                                  .q_norm = data_of(args.q_norm),
                                  .k_norm = data_of(args.k_norm),
                                  .eps = args.eps,
                                  .rope = rows_view<const float>(args.rope),
                                  .positions = context.stage(args.positions),
                                  .slots = context.stage(args.slots),
                                  .q = rows_view<Bf16>(args.q),
                                  .k = rows_view<Bf16>(args.k),
                                  .v = rows_view<Bf16>(args.v),
                                  .k_pages = static_cast<Bf16*>(args.pages.k),
                                  .v_pages = static_cast<Bf16*>(args.pages.v),
                                  .num_q_heads = args.num_q_heads,
                                  .num_kv_heads = args.pages.num_kv_heads,
                                  .head_dim = args.pages.head_dim,
                                  .value_from_key = args.value_from_key,
                                  .value_norm = args.value_norm};
  const bool aligned = is_aligned(args.qkv) && is_aligned(args.rope) &&
                       is_aligned(data_of(args.bias)) && is_aligned(data_of(args.q_norm)) &&
                       is_aligned(data_of(args.k_norm)) && on_8_bytes(args.q) &&
                       on_8_bytes(args.k) && on_8_bytes(args.v);
  const Variant chosen = choose(args.pages.head_dim, args.rope.cols, aligned);
  const int num_heads = args.num_q_heads + 2 * args.pages.num_kv_heads;
  launch(chosen.kernel,
         {.grid_x = args.qkv.rows,
          .grid_y = (num_heads + chosen.heads - 1) / chosen.heads,
          .threads = kThreads,
          .shared_bytes = 0,
          .starts_early = true},
         context.stream(), kernel_args);
}

}  // namespace tessera::kernels::cuda
