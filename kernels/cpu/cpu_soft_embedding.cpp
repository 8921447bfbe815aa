#include "kernels/cpu/cpu_soft_embedding.h"

#include <emmintrin.h>

#include <algorithm>
#include <array>

#include "kernels/cpu/tile_walk.h"

namespace tessera::kernels {
namespace {

constexpr std::int64_t kTilesAtATime = 16;  // of rows: their sums stay in L2
constexpr std::int64_t kIdPairs = kPanelWidth / 2;
constexpr std::int64_t kPairBytes = kPanelWidth * 4;  // of a pair of columns, all ids of a panel

/// 64 ids by 64 columns, [pairs of ids][columns][2]: as product_tile wants its weights.
struct TurnedPanel {
  alignas(64) std::array<std::uint32_t, kIdPairs * kPanelWidth> pairs{};
};

// A panel is [pairs of columns][ids][2]. The columns are those of `num_pairs` pairs from `first`.
void turn(const std::byte* panel, std::int64_t first, std::int64_t num_pairs, TurnedPanel& turned) {
  for (std::int64_t i = 0; i < num_pairs; ++i) {
    const auto* ids =
        reinterpret_cast<const __m128i*>(panel + (first + i) * kPanelWidth * 4);  // four at a time
    for (std::int64_t j = 0; j < kIdPairs; j += 2, ++ids) {
      // Both columns of id 2 j, of 2 j + 1, ... to both ids of column 2 i, of 2 i + 1.
      __m128i words = _mm_loadu_si128(ids);
      words = _mm_shufflelo_epi16(words, _MM_SHUFFLE(3, 1, 2, 0));
      words = _mm_shufflehi_epi16(words, _MM_SHUFFLE(3, 1, 2, 0));
      std::uint32_t* out = turned.pairs.data() + j * kPanelWidth + 2 * i;
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out), words);
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out + kPanelWidth),
                       _mm_unpackhi_epi64(words, words));
    }
  }
}

}  // namespace

std::int64_t soft_embedding_bytes(const CpuMatrix& table, std::int64_t num_rows) {
  return num_rows * table.shape().rows * size_of(DType::kBFloat16);
}

void soften_rows(const CpuKernels& kernels,
                 const SoftEmbeddingArgs& args,
                 std::int64_t begin,
                 std::int64_t end) {
  const std::int64_t cols = args.logits.cols;
  auto* probabilities = reinterpret_cast<std::uint16_t*>(args.workspace.data());
  for (std::int64_t row = begin; row < end; ++row) {
    const MeasurePartial& partial = args.partials[static_cast<std::size_t>(row)];
    const SoftmaxScale scale{.high = static_cast<float>(partial.max_logit),
                             .inverse_temperature = 1.0F / std::max(partial.temperature, 1e-30F),
                             .inverse_sum = static_cast<float>(1.0 / partial.tempered_sum)};
    kernels.softmax(static_cast<const float*>(args.logits.row(row)), scale, cols,
                    probabilities + row * cols);
  }
}

void soft_embedding_share(const CpuKernels& kernels,
                          const SoftEmbeddingArgs& args,
                          const CpuMatrix& table,
                          std::int32_t part,
                          std::int32_t num_parts) {
  const std::int64_t rows = args.out.rows;
  const std::int64_t num_ids = table.shape().rows;
  const std::int64_t hidden = table.shape().cols;
  const std::int64_t num_tiles = round_up(rows, kTileRows) / kTileRows;
  const std::int64_t per_leaf = table.panels_per_leaf();
  std::array<TileState, kTilesAtATime> states;
  TurnedPanel turned;
  const Share share(round_up(hidden, kPanelWidth) / kPanelWidth, part, num_parts);
  for (std::int64_t group = share.begin; group < share.end; ++group) {
    const std::int64_t width = std::min(kPanelWidth, hidden - group * kPanelWidth);
    for (std::int64_t first_tile = 0; first_tile < num_tiles; first_tile += kTilesAtATime) {
      const std::int64_t end_tile = std::min(num_tiles, first_tile + kTilesAtATime);
      for (std::int64_t panel = 0; panel < table.num_panels(); ++panel) {
        turn(table.panel(panel), group * kPanelWidth / 2, width / 2, turned);
        TileArgs tile;
        tile.a_stride_bytes = num_ids * 2;
        tile.weights = reinterpret_cast<const std::byte*>(turned.pairs.data());
        tile.num_pairs = table.width(panel) / 2;
        tile.leaf = static_cast<std::int32_t>(panel / per_leaf);
        tile.begins_leaf = panel % per_leaf == 0;
        tile.ends_leaf = (panel + 1) % per_leaf == 0;
        tile.ends_product = panel + 1 == table.num_panels();
        tile.c_stride = args.out.row_stride;
        tile.width = width;
        // The tiles fetch a part each of what is turned next; behind the last panel, this one.
        const std::byte* next = table.panel(std::min(panel + 1, table.num_panels() - 1)) +
                                group * kPanelWidth / 2 * kPairBytes;
        tile.pairs_per_fetch = end_tile - first_tile;
        for (std::int64_t t = first_tile; t < end_tile; ++t) {
          const std::int64_t first_row = t * kTileRows;
          tile.a = args.workspace.data() + (first_row * num_ids + table.first_row(panel)) * 2;
          tile.rows = std::min(kTileRows, rows - first_row);
          tile.fetch = next + tile.num_pairs * (t - first_tile) / tile.pairs_per_fetch * kPairBytes;
          tile.state = &states[static_cast<std::size_t>(t - first_tile)];
          tile.c = static_cast<float*>(args.out.row(first_row)) + group * kPanelWidth;
          kernels.product_tile(tile);
        }
      }
    }
  }
}

}  // namespace tessera::kernels
