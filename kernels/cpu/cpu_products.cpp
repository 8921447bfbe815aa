#include "kernels/cpu/cpu_products.h"

#include <array>
#include <cmath>
#include <limits>

#include "common/base/philox.h"
#include "kernels/cpu/tile_walk.h"
#include "kernels/measure_row.h"

namespace tessera::kernels {
namespace {

constexpr std::int64_t kPanelsPerChunk = 16;

std::int64_t chunks_per_leaf(const CpuMatrix& lm_head) {
  return round_up(lm_head.panels_per_leaf(), kPanelsPerChunk) / kPanelsPerChunk;
}

// Soft cap, excluded ids and the penalty, of one row of a tile. Most tiles hold no such id.
void finish_logits(const CpuKernels& kernels,
                   std::span<float> row,
                   TokenId first_id,
                   const VocabularyShard& vocabulary,
                   const Measure& measure) {
  if (vocabulary.softcap > 0.0F) {
    kernels.softcap(row.data(), vocabulary.softcap, static_cast<std::int64_t>(row.size()));
  }
  const TokenId end = first_id + static_cast<TokenId>(row.size());
  const auto holds = [&](TokenId id) { return id >= first_id && id < end; };
  if (end <= vocabulary.tokenizer_size && !holds(vocabulary.mask_id) &&
      !holds(measure.penalised_id)) {
    return;
  }
  exclude_ids(row, first_id, vocabulary, measure);
}

}  // namespace

double exact_score(float logit, std::uint32_t word, float temperature) {
  return static_cast<double>(logit) / temperature - std::log(-std::log(uniform_of_word(word)));
}

void gemm_share(const CpuKernels& kernels,
                const ConstMatrixView& a,
                const CpuMatrix& w,
                const MatrixView& c,
                std::int32_t part,
                std::int32_t num_parts) {
  const TileWalk walk(w, a.rows);
  const Share share(walk.num_tiles(), part, num_parts);
  walk.run(
      kernels, a, share.begin, share.end,
      [&](const TileWalk::Tile& tile, TileArgs& args) {
        args.c = static_cast<float*>(c.row(tile.first_row)) + w.first_row(tile.panel);
        args.c_stride = c.row_stride;
      },
      [](const TileWalk::Tile&, const TileArgs&) {});
}

void logits_share(const CpuKernels& kernels,
                  const MeasureArgs& args,
                  const MatrixView& logits,
                  std::int32_t part,
                  std::int32_t num_parts) {
  const CpuMatrix& w = args.lm_head;
  const TileWalk walk(w, args.hidden.rows);
  const Share share(walk.num_tiles(), part, num_parts);
  walk.run(
      kernels, args.hidden, share.begin, share.end,
      [&](const TileWalk::Tile& tile, TileArgs& out) {
        out.c = static_cast<float*>(logits.row(tile.first_row)) + w.first_row(tile.panel);
        out.c_stride = logits.row_stride;
      },
      [&](const TileWalk::Tile& tile, const TileArgs& out) {
        const auto first_id =
            args.vocabulary.first_id + static_cast<TokenId>(w.first_row(tile.panel));
        for (std::int64_t r = 0; r < tile.num_rows; ++r) {
          finish_logits(kernels, {out.c + r * out.c_stride, static_cast<std::size_t>(out.width)},
                        first_id, args.vocabulary,
                        args.measures[static_cast<std::size_t>(tile.first_row + r)]);
        }
      });
}

std::int64_t num_measure_chunks(const CpuMatrix& lm_head) {
  return lm_head.shape().row_leaves * chunks_per_leaf(lm_head);
}

void measure_share(const CpuKernels& kernels,
                   const MeasureArgs& args,
                   std::span<MeasurePartial> chunks,
                   std::int32_t part,
                   std::int32_t num_parts) {
  const CpuMatrix& w = args.lm_head;
  const TileWalk walk(w, args.hidden.rows);
  const std::int64_t num_chunks = num_measure_chunks(w);
  const std::int64_t per_leaf = chunks_per_leaf(w);
  alignas(64) std::array<float, kTileRows * kPanelWidth> logits;
  const Share share(num_chunks, part, num_parts);
  for (std::int64_t chunk = share.begin; chunk < share.end; ++chunk) {
    const auto partial_of = [&](std::int64_t row) -> MeasurePartial& {
      return chunks[static_cast<std::size_t>(row * num_chunks + chunk)];
    };
    for (std::int64_t row = 0; row < args.hidden.rows; ++row) {
      partial_of(row) = {};
      partial_of(row).temperature =
          effective_temperature(args.measures[static_cast<std::size_t>(row)]);
    }
    const std::int64_t leaf = chunk / per_leaf * w.panels_per_leaf();
    const std::int64_t first = chunk % per_leaf * kPanelsPerChunk;
    const std::int64_t last = std::min(first + kPanelsPerChunk, w.panels_per_leaf());
    walk.run(
        kernels, args.hidden, (leaf + first) * walk.num_blocks(), (leaf + last) * walk.num_blocks(),
        [&](const TileWalk::Tile&, TileArgs& out) {
          out.c = logits.data();
          out.c_stride = kPanelWidth;
        },
        [&](const TileWalk::Tile& tile, const TileArgs& out) {
          const auto first_id =
              args.vocabulary.first_id + static_cast<TokenId>(w.first_row(tile.panel));
          for (std::int64_t r = 0; r < tile.num_rows; ++r) {
            float* row = out.c + r * kPanelWidth;
            const Measure& measure = args.measures[static_cast<std::size_t>(tile.first_row + r)];
            finish_logits(kernels, {row, static_cast<std::size_t>(out.width)}, first_id,
                          args.vocabulary, measure);
            std::fill(row + out.width, row + kPanelWidth, -std::numeric_limits<float>::infinity());
            kernels.measure_tile(row, first_id, measure, partial_of(tile.first_row + r));
          }
        });
  }
}

void measure_logits_share(const CpuKernels& kernels,
                          const ConstMatrixView& logits,
                          const CpuMatrix& lm_head,
                          TokenId first_id,
                          std::span<const Measure> measures,
                          std::span<MeasurePartial> chunks,
                          std::int32_t part,
                          std::int32_t num_parts) {
  const std::int64_t num_chunks = num_measure_chunks(lm_head);
  const std::int64_t per_leaf = chunks_per_leaf(lm_head);
  alignas(64) std::array<float, kPanelWidth> tile;
  const Share share(num_chunks, part, num_parts);
  for (std::int64_t chunk = share.begin; chunk < share.end; ++chunk) {
    const std::int64_t leaf = chunk / per_leaf * lm_head.panels_per_leaf();
    const std::int64_t first = chunk % per_leaf * kPanelsPerChunk;
    const std::int64_t last = std::min(first + kPanelsPerChunk, lm_head.panels_per_leaf());
    for (std::int64_t row = 0; row < logits.rows; ++row) {
      const Measure& measure = measures[static_cast<std::size_t>(row)];
      MeasurePartial& partial = chunks[static_cast<std::size_t>(row * num_chunks + chunk)];
      partial = {};
      partial.temperature = effective_temperature(measure);
      for (std::int64_t panel = leaf + first; panel < leaf + last; ++panel) {
        const std::int64_t column = lm_head.first_row(panel);
        tile.fill(-std::numeric_limits<float>::infinity());
        std::copy_n(static_cast<const float*>(logits.row(row)) + column, lm_head.width(panel),
                    tile.begin());
        kernels.measure_tile(tile.data(), first_id + static_cast<TokenId>(column), measure,
                             partial);
      }
    }
  }
}

void merge_chunks(const CpuMatrix& lm_head,
                  std::span<const MeasurePartial> chunks,
                  std::int64_t begin,
                  std::int64_t end,
                  std::span<MeasurePartial> partials) {
  const std::int64_t per_leaf = chunks_per_leaf(lm_head);
  const std::int32_t num_leaves = lm_head.shape().row_leaves;
  for (std::int64_t row = begin; row < end; ++row) {
    const MeasurePartial* chunk = chunks.data() + row * num_leaves * per_leaf;
    std::array<MeasurePartial, kNumLeaves> leaves;
    for (std::int32_t leaf = 0; leaf < num_leaves; ++leaf) {
      MeasurePartial& sum = leaves[static_cast<std::size_t>(leaf)];
      for (std::int64_t i = 0; i < per_leaf; ++i) sum = merge(sum, *chunk++);
    }
    for_each_branch(num_leaves, [&](std::int32_t left, std::int32_t right) {
      MeasurePartial& sum = leaves[static_cast<std::size_t>(left)];
      sum = merge(sum, leaves[static_cast<std::size_t>(right)]);
    });
    partials[static_cast<std::size_t>(row)] = leaves[0];
  }
}

}  // namespace tessera::kernels
