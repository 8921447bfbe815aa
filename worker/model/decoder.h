#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/model_spec/sharding.h"
#include "kernels/ops.h"
#include "worker/comm/tensor_sum.h"
#include "worker/kv/kv_pool.h"
#include "worker/model/model_weights.h"

namespace tessera {

/// A row whose embedding is a recipe's.
struct RecipeEntry {
  const EmbeddingRecipe* recipe = nullptr;
  std::int64_t row = 0;
};

/// The rows of one forward pass, all sequences. Borrows.
struct RowBatch {
  std::span<const TokenId> ids;          ///< [rows]
  std::span<const RecipeEntry> recipes;  ///< Rows that are not simply the embedding of their id.
  std::span<const Position> positions;   ///< [rows]
  std::span<const std::int64_t> slots;   ///< [rows] where K/V is stored, -1: nowhere
  std::span<const kernels::AttentionSpan> spans;
  /// Rows [first_canvas_row, rows) are of canvases; the rows before them are encoded.
  std::int64_t first_canvas_row = 0;
  /// [canvas rows, hidden] fp32: softmax(z) E of the step before, zeros where there was none.
  ConstMatrixView conditioning;

  std::int64_t num_rows() const { return static_cast<std::int64_t>(ids.size()); }
};

/// The layers of a model on one rank: a sequence of back-end operations on views, made from
/// ModelSpec alone. Collective: every rank runs the same batches.
///
/// Borrows everything it is given. Owned by the rank's main thread.
class Decoder {
 public:
  /// Allocates the workspaces of a pass of at most `max_rows` rows at positions [0, num_positions).
  Decoder(const ModelSpec& spec,
          const RankShard& shard,
          const ModelWeights& weights,
          kernels::Backend& backend,
          TensorSum& sum,
          std::int32_t max_rows,
          std::int32_t num_positions);

  /// The most values that a pass of at most `max_rows` rows sums over ranks at once.
  static std::int64_t largest_sum(const ModelSpec& spec, std::int32_t max_rows);

  /// Makes plan() ready for steps of up to `room`.
  /// @return Bytes that it takes of the back end's step arrays at most.
  std::int64_t reserve_plans(const KvPool& pool, const kernels::AttentionRoom& room);

  /// Plans the attention of a batch, in the step arrays, before they are sent.
  /// @param room  As Backend::plan_attention.
  void plan(const RowBatch& batch, const kernels::AttentionRoom* room);

  /// Makes the rows of residual().
  void embed(const RowBatch& batch);

  /// Runs the layers on the rows of residual(), and stores their K/V. Nothing but operations of the
  /// back end and sums.
  void run_layers(const RowBatch& batch, const KvPool& pool);

  /// The residual stream: behind run_layers(), before the final norm. fp32 [rows, hidden], equal on
  /// every rank, valid until the next call.
  MatrixView residual(std::int64_t num_rows) const { return residual_.rows(num_rows); }

 private:
  struct Workspace {
    kernels::Buffer memory;
    DType dtype = DType::kFloat32;
    std::int64_t cols = 0;

    MatrixView rows(std::int64_t count) const { return {memory.data(), dtype, count, cols, cols}; }
    MatrixView rows(IndexRange range) const {
      MatrixView view = rows(range.size());
      view.data = view.row(range.begin);
      return view;
    }
  };

  Workspace workspace(DType dtype, std::int64_t cols, std::int64_t rows);
  void reserve_attention();
  void fill_rope(const RopeSpec& spec, std::int32_t num_positions);
  void gather(std::span<const TokenId> ids, const MatrixView& out);
  void apply_recipes(std::span<const RecipeEntry> recipes, const MatrixView& residual);
  void attention(std::int32_t index, const RowBatch& batch, const kernels::KvPages& pages);
  void project(std::int32_t index,
               const RowBatch& batch,
               const kernels::KvPages& pages,
               IndexRange rows);
  void condition(const RowBatch& batch, const MatrixView& residual);
  void feed_forward(const LayerWeights& layer, const MatrixView& residual);
  void mlp(const MlpWeights& weights, std::int64_t num_rows);
  void route(const LayerWeights& layer, std::int64_t num_rows);
  void experts(const LayerWeights& layer, const MatrixView& out);
  void scale_layer(const LayerWeights& layer, const RowBatch& batch, const MatrixView& residual);
  void reserve_experts();
  void reduce(const MatrixView& partial);

  const ModelSpec& spec_;
  const RankShard& shard_;
  const ModelWeights& weights_;
  kernels::Backend& backend_;
  TensorSum& sum_;
  std::int64_t max_rows_;
  std::int64_t group_;  ///< Rows of the widest products at a time.

  Workspace residual_;  // fp32 [rows, hidden]
  Workspace delta_;     // fp32 [rows, hidden]: what a half layer adds
  Workspace normed_;    // activation dtype [rows, hidden]
  // For the widest kind of layer; others use the leading columns.
  Workspace qkv_;                     // fp32 [group, (nq + 2 nkv) D]
  Workspace q_;                       // activation dtype [rows, nq D]
  Workspace k_;                       // cache dtype [rows, nkv D]
  Workspace v_;                       // cache dtype [rows, nkv D]
  std::vector<Workspace> attention_;  // of every kind: activation dtype [rows, nq D, padded];
                                      // padding stays zero
  Workspace gate_up_;                 // fp32 [group, 2 I]
  Workspace product_;                 // activation dtype [group, I]
  Workspace router_logits_;           // fp32 [rows, experts]
  Workspace routed_;                  // fp32 [rows, hidden]: of experts beside an MLP
  kernels::Buffer expert_workspace_;
  kernels::Buffer chosen_;          // int32 [rows, experts per token]
  kernels::Buffer chosen_weights_;  // fp32, likewise
  std::vector<kernels::Buffer> rope_memory_;
  std::vector<MatrixView> rope_;  // of every kind: fp32 [num_positions, rotary width]

  std::vector<kernels::AttentionArgs> attention_kinds_;  // what plans depend on
  std::vector<TokenId> gathered_ids_;
  std::vector<kernels::RecipeRow> recipe_rows_;
};

}  // namespace tessera
