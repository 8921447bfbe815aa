#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "common/base/types.h"
#include "common/decoding/embedding_recipe.h"
#include "common/decoding/measurement.h"
#include "common/decoding/span.h"
#include "common/tensor/matrix_view.h"
#include "kernels/buffer.h"
#include "kernels/logit_passes.h"
#include "kernels/measure_partial.h"
#include "kernels/moe.h"
#include "kernels/packed_matrix.h"
#include "kernels/step_arrays.h"

namespace tessera::kernels {

/// K or V pages of one layer: [num_pages, page_size, num_kv_heads, head_dim] each, cache dtype.
/// The slot of a position is page_id * page_size + position % page_size.
struct KvPages {
  void* k = nullptr;
  void* v = nullptr;
  std::int32_t num_pages = 0;
  std::int32_t page_size = 0;
  std::int32_t num_kv_heads = 0;  ///< This rank's.
  std::int32_t head_dim = 0;
};

/// A row whose embedding is computed from other rows of the table.
struct RecipeRow {
  const EmbeddingRecipe* recipe = nullptr;
  /// First of num_ids + 1 consecutive rows of `gathered`: the embeddings of recipe->ids, then that
  /// of the mask id (kBlend) or of recipe->base_id (kAdd).
  std::int64_t first_gathered = 0;
  std::int64_t out_row = 0;
};

/// Arguments of qk_norm_rope_store. nq, nkv: heads of this rank; D: head_dim.
struct QkvArgs {
  ConstMatrixView qkv;  ///< fp32 [rows, (nq + 2 nkv) D]: q heads, k heads, v heads
  std::int32_t num_q_heads = 0;
  /// qkv ends behind the k heads, which, before norm and rotation, are the v heads, too.
  bool value_from_key = false;
  std::span<const float> bias;    ///< [columns of qkv] or empty; added first
  std::span<const float> q_norm;  ///< [D] or empty: RMSNorm weight of every query head
  std::span<const float> k_norm;  ///< [D] or empty
  bool value_norm = false;        ///< RMSNorm without a weight of every value head
  float eps = 1e-6F;
  /// fp32 [max positions, R]: cos of the R / 2 angles of a position, then their sines
  /// (rope_table.h). R = rotary width, even, <= D: dimensions [0, R) turn in pairs (j, j + R / 2),
  /// the others pass. R = 0: no rotation.
  ConstMatrixView rope;
  std::span<const Position> positions;  ///< [rows]
  std::span<const std::int64_t> slots;  ///< [rows] slot that a row's K/V goes to, -1: not stored
  MatrixView q;                         ///< out, activation dtype [rows, nq D]
  MatrixView k;                         ///< out, cache dtype [rows, nkv D]
  MatrixView v;                         ///< out, cache dtype [rows, nkv D]
  KvPages pages;                        ///< out; num_kv_heads and head_dim are nkv and D
};

/// Rows of one sequence in block_attention. Meaning of the fields: common/decoding/span.h.
struct AttentionSpan {
  std::int64_t first_row = 0;  ///< of q, k, v and out
  std::int32_t num_rows = 0;
  Position first = 0;
  std::int32_t cache_len = 0;
  PositionRange cache_hole;
  MaskKind mask = MaskKind::kBlockCausal;
  std::int32_t mask_block = 1;
  std::int32_t prompt_len = 0;
  std::span<const PageId> page_table;  ///< Entry i: page of positions [i page_size, ...); covers
                                       ///< [0, cache_len).
};

/// Arguments of block_attention. out = softmax(scale q k^T over visible positions) v, fp32 inside.
struct AttentionArgs {
  ConstMatrixView q;             ///< activation dtype [rows, nq D]
  ConstMatrixView k;             ///< cache dtype [rows, nkv D]: new rows (not read for kCacheOnly)
  ConstMatrixView v;             ///< cache dtype [rows, nkv D]
  KvPages pages;                 ///< nkv = pages.num_kv_heads divides nq; head_dim as below
  std::int32_t num_q_heads = 0;  ///< query head h reads KV head h / (nq / nkv)
  float scale = 1.0F;
  /// > 0: row i sees j only if i - j < window. The rows of a kFull span all look from its first.
  std::int32_t window = 0;
  std::span<const AttentionSpan> spans;  ///< Every row of `out` lies in at most one.
  MatrixView out;  ///< activation dtype [rows, nq D]; rows that see nothing: zeros
  /// >= 0: index of this call's kind among those of plan_attention(), which was given these heads,
  /// window, page size and spans; -1: the call is planned by itself.
  std::int32_t plan = -1;
};

/// The most that the attention of a step has.
struct AttentionRoom {
  std::int64_t rows = 0;
  std::int64_t spans = 0;
  std::int64_t span_pages = 0;  ///< Pages that hold the longest sequence.
};

/// The part of the vocabulary that a rank measures.
struct VocabularyShard {
  TokenId first_id = 0;             ///< id of row 0 of the LM head
  std::int32_t tokenizer_size = 0;  ///< ids at or above are excluded (padding is)
  TokenId mask_id = -1;             ///< excluded; -1: none
  float softcap = 0.0F;  ///< > 0: logits l become softcap tanh(l / softcap), before all else
};

/// Arguments of soft_embedding.
struct SoftEmbeddingArgs {
  ConstMatrixView logits;               ///< fp32 [rows, table.rows], as logits() leaves them
  const PackedMatrix* table = nullptr;  ///< The LM head, whose weights are the embedding's.
  /// [rows] of the whole vocabulary: max_logit, temperature and tempered_sum are read.
  std::span<const MeasurePartial> partials;
  std::span<std::byte> workspace;  ///< soft_embedding_workspace_bytes()
  MatrixView out;                  ///< fp32 [rows, hidden]: this rank's partial sum
};

/// Operations that were kept by Backend::capture(), which it does not outlive.
class StepGraph {
 public:
  virtual ~StepGraph() = default;

  /// Runs them in their order, behind every operation called before, with the step arrays that were
  /// sent last.
  /// @throws Error{kInternal} if these do not begin where those began that the operations were kept
  /// with.
  virtual void launch() = 0;
};

/// The operations a model is made of, on one device. Operations run in the order of the calls,
/// perhaps later: download() waits. Every operation takes zero rows, allocates nothing, and writes
/// its outputs only, padding of strided outputs untouched.
///
/// Memory: matrices, pages, workspaces, weight vectors (spans of float), what moe_route() chooses
/// and the partials that a measurement gives lie in memory from allocate(). The rest are host
/// arrays, free to change on return: ids, positions, slots, rows, spans with their page tables,
/// recipes, measures; rows to pack; the partials that soft_embedding() takes; what the passes over
/// stored logits take and give beside the logits. Host arrays may be step_arrays.h's.
///
/// Rows are independent: the bits of a row depend on its own inputs alone, never on the other rows,
/// their number, the number of threads, page size or page ids.
///
/// dtypes: "activation" and "cache" are what activation_dtype() and cache_dtype() say
/// (reference: fp32 both); rounding is to nearest even. The residual stream and all GEMM
/// outputs are fp32. Views may have any row stride and element alignment.
///
/// Every operation throws Error{kInvalidArgument} for shapes, dtypes and ids that break the
/// contract stated here. Owned and called by one thread; its worker threads are its own.
class Backend {
 public:
  virtual ~Backend() = default;

  /// Registry name, and the instruction set where it has several. Ranks with different ones differ
  /// in bits and do not join one job.
  virtual std::string_view device_name() const = 0;
  virtual DType activation_dtype() const = 0;
  virtual DType cache_dtype() const = 0;

  // --- memory ---

  /// Zeros. @throws Error{kDevice} if memory is short.
  virtual Buffer allocate(std::int64_t num_bytes) = 0;

  /// Host to device. `host` is free to change on return.
  virtual void upload(const void* host, void* device, std::int64_t num_bytes) = 0;

  /// Device to host, behind every operation called before. Done on return.
  virtual void download(const void* device, void* host, std::int64_t num_bytes) = 0;

  /// True if memory from allocate() is the host's.
  virtual bool computes_in_host_memory() const = 0;

  /// What allocate() may still take for pages, with room left for everything else: for all ranks
  /// on this device together.
  virtual std::int64_t memory_for_pages() const = 0;

  // --- for other libraries that work on the device ---

  /// Where operations are queued: a cudaStream_t; null if the back end computes in host memory.
  virtual void* native_stream() const = 0;

  /// Name of the device among those of this machine, the same for all back ends that share it;
  /// empty if the back end computes in host memory.
  virtual std::string_view physical_device() const = 0;

  /// Sets what is called again and again while an operation waits for the device, with the time
  /// that the wait has taken so far; null: nothing is. It may throw, which ends the wait: work of
  /// other libraries may wait for what never comes.
  virtual void watch_waits(std::function<void(std::chrono::milliseconds)> watch) = 0;

  // --- arrays of a step ---

  /// Makes room for arrays of at least that many bytes; those there are lost.
  virtual void reserve_step_arrays(std::int64_t num_bytes) = 0;

  /// Room for the arrays of a new step; those of the last are forgotten. Waits until they have been
  /// copied.
  virtual StepArrays& begin_step_arrays() = 0;

  /// Takes the arrays to the device, in one copy. Operations that are then given one of them, or a
  /// part, read it there; until the next begin_step_arrays() the arrays must not change.
  virtual void send_step_arrays() = 0;

  // --- graphs ---

  /// Whether capture() makes graphs. Back ends without are called operation by operation.
  virtual bool has_graphs() const = 0;

  /// Keeps the operations that work() calls instead of running them, pointers and sizes included.
  /// Host arrays that they are given lie in the step arrays, which were sent. Every shape was run
  /// once before; from now on no operation may need more scratch memory than the largest so far.
  /// @throws Error{kDevice} if work() waits for the device or allocates, or the device has no room;
  /// Error{kInternal} for other host arrays, and for more scratch memory.
  virtual std::unique_ptr<StepGraph> capture(const std::function<void()>& work) = 0;

  // --- weights ---

  /// An all-zero packed matrix; pack_rows fills it.
  /// @throws Error{kDevice} if memory is short.
  virtual std::unique_ptr<PackedMatrix> create_packed(const PackShape& shape) = 0;

  /// Packs consecutive rows [first_row, first_row + rows.rows) of a matrix. Fused matrices (QKV,
  /// gate and up) are several calls; so is a large tensor whose source pages are to be released
  /// meanwhile. Multiples of 64 rows at a time are fastest.
  /// @param rows  Host memory at any address, fp32, fp16 or bf16 [n, <= cols]: the missing columns
  ///              stay zero.
  virtual void pack_rows(PackedMatrix& matrix, std::int64_t first_row, ConstMatrixView rows) = 0;

  // --- embedding ---

  /// out[i] = table row ids[i] - first_id; zeros for ids of other ranks, so that the sum over ranks
  /// is exact (-0 is written as +0).
  /// @param table  fp32, fp16 or bf16 [vocab_shard, hidden]
  /// @param out    fp32 [ids, hidden]
  virtual void gather_embeddings(ConstMatrixView table,
                                 TokenId first_id,
                                 std::span<const TokenId> ids,
                                 MatrixView out) = 0;

  /// The same from a packed LM head that shares its weights with the embedding (k_leaves 1).
  virtual void gather_embeddings(const PackedMatrix& table,
                                 TokenId first_id,
                                 std::span<const TokenId> ids,
                                 MatrixView out) = 0;

  /// Applies embedding recipes. Runs on complete embeddings (after ranks were summed), hence exact
  /// for any sharding.
  /// @param gathered  fp32 [*, hidden], see RecipeRow.   @param out  fp32 [*, hidden]
  virtual void apply_recipes(std::span<const RecipeRow> rows,
                             ConstMatrixView gathered,
                             MatrixView out) = 0;

  // --- rows ---

  /// out = w * cast(x / sqrt(mean(x^2) + eps)), cast to the activation dtype before and after the
  /// product (Hugging Face's order).
  /// @param x  fp32 [rows, hidden]   @param weight  [hidden]   @param out  activation dtype
  virtual void rms_norm(ConstMatrixView x,
                        std::span<const float> weight,
                        float eps,
                        MatrixView out) = 0;

  /// residual += delta (fp32), then rms_norm of it.
  virtual void add_rms_norm(MatrixView residual,
                            ConstMatrixView delta,
                            std::span<const float> weight,
                            float eps,
                            MatrixView out) = 0;

  /// out = w x / sqrt(mean(x^2) + eps) in fp32, rounded once at the end.
  /// @param x       fp32 [rows, hidden]; may be `out`
  /// @param weight  [hidden], or empty: ones   @param out  fp32 or activation dtype
  virtual void rms_norm_once(ConstMatrixView x,
                             std::span<const float> weight,
                             float eps,
                             MatrixView out) = 0;

  /// x *= factor, fp32.
  virtual void scale(MatrixView x, float factor) = 0;

  /// out = act(gate) * up.
  /// @param gate_up  fp32 [rows, 2 I]: gate, then up   @param out  activation dtype [rows, I]
  virtual void act_mul(Activation activation, ConstMatrixView gate_up, MatrixView out) = 0;

  /// sum += x, fp32, same shape.
  virtual void add(MatrixView sum, ConstMatrixView x) = 0;

  /// out[i] = x[rows[i]], fp32.
  virtual void gather_rows(ConstMatrixView x,
                           std::span<const std::int64_t> rows,
                           MatrixView out) = 0;

  // --- sums over ranks ---

  /// out[i] = the sum of column i, added in the order of for_each_branch (partition.h).
  /// @param parts  fp32 [1, 2, 4 or 8, count]
  /// @param out    [count] in memory from allocate(), no part of `parts`
  virtual void sum_parts(ConstMatrixView parts, std::span<float> out) = 0;

  // --- attention ---

  /// Bias, QK-norm and rotation of fused projections, in fp32; then rounding; then the stores.
  virtual void qk_norm_rope_store(const QkvArgs& args) = 0;

  /// Makes plan_attention() ready for steps of up to `room`, so that it allocates nothing.
  /// @param kinds  As plan_attention() has them, without spans.
  /// @return Bytes that it takes of the step arrays at most.
  virtual std::int64_t reserve_attention_plans(std::span<const AttentionArgs> kinds,
                                               const AttentionRoom& room) = 0;

  /// Plans the block_attention() calls of a step, whose layers are of a few kinds, in the step
  /// arrays: to be called behind whatever else is taken of them, and before they are sent.
  /// @param kinds  Heads, window and page size of every kind, and the spans, equal for all.
  /// @param room   Null, or what decides where the plan's arrays lie and which kernels run, instead
  ///               of the spans: steps with the same room can share a graph. rows: those of the
  ///               step's matrices.
  virtual void plan_attention(std::span<const AttentionArgs> kinds, const AttentionRoom* room) = 0;

  /// Attention of new rows over pages and each other. Keys are visited in tiles aligned to absolute
  /// positions, so a key gives the same bits from a page and as a new row.
  virtual void block_attention(const AttentionArgs& args) = 0;

  // --- matrix products ---

  /// c = a w^T. With k_leaves > 1: the partial sum of this rank, leaves combined in tree order;
  /// ranks' partials are added in the order of for_each_branch (partition.h).
  /// @param a  activation dtype [rows, w.cols]; padding columns finite
  /// @param c  fp32 [rows, w.rows]
  virtual void gemm(ConstMatrixView a, const PackedMatrix& w, MatrixView c) = 0;

  // --- mixtures of experts ---

  /// Chooses experts and their weights (moe.h).
  virtual void moe_route(const RouteArgs& args) = 0;

  /// Workspace of moe_experts() for that many rows.
  virtual std::int64_t moe_workspace_bytes(const ExpertWeights& weights,
                                           std::int32_t experts_per_token,
                                           std::int64_t num_rows) const = 0;

  /// Routed and shared experts of a layer; reads the weights of the chosen experts only.
  virtual void moe_experts(const MoeArgs& args) = 0;

  // --- measurement ---

  /// Workspace of measure() for that many rows.
  virtual std::int64_t measure_workspace_bytes(const PackedMatrix& lm_head,
                                               std::int64_t num_rows) const = 0;

  /// LM head and measurement of greedy and unfiltered sampled rows in one: logits are not stored.
  /// top_p, top_k and num_alternatives are ignored: filtered rows go through logits().
  /// @param hidden    activation dtype [measures, hidden]: row i is for measures[i]
  /// @param lm_head   row_leaves leaves of the vocabulary; k_leaves 1
  /// @param partials  [measures] out: this rank's; merge() over ranks in the order of
  ///                  for_each_branch gives equal bits for every number of ranks.
  virtual void measure(ConstMatrixView hidden,
                       const PackedMatrix& lm_head,
                       const VocabularyShard& vocabulary,
                       std::span<const Measure> measures,
                       std::span<std::byte> workspace,
                       std::span<MeasurePartial> partials) = 0;

  /// This rank's logits with excluded ids at -inf and penalties subtracted: input of
  /// filtered_measure.h.
  /// @param logits  fp32 [measures, lm_head.rows] out
  virtual void logits(ConstMatrixView hidden,
                      const PackedMatrix& lm_head,
                      const VocabularyShard& vocabulary,
                      std::span<const Measure> measures,
                      MatrixView logits) = 0;

  /// What measure() gives, from stored logits.
  /// @param logits     fp32 [measures, lm_head.rows], as logits() leaves them
  /// @param lm_head    for the order of the sums; @param first_id  id of column 0
  /// @param workspace  measure_workspace_bytes()
  virtual void measure_logits(ConstMatrixView logits,
                              const PackedMatrix& lm_head,
                              TokenId first_id,
                              std::span<const Measure> measures,
                              std::span<std::byte> workspace,
                              std::span<MeasurePartial> partials) = 0;

  /// Workspace of soft_embedding() for that many rows.
  virtual std::int64_t soft_embedding_workspace_bytes(const PackedMatrix& table,
                                                      std::int64_t num_rows) const = 0;

  /// out = sum over the ids of this rank of p_id E[id], with p = exp((l - max) / temperature) /
  /// tempered_sum in the activation dtype: the embedding that a row is expected to take. Leaves of
  /// the vocabulary in ascending order, combined in tree order; ranks' partials are added in the
  /// order of for_each_branch.
  virtual void soft_embedding(const SoftEmbeddingArgs& args) = 0;

  // --- passes over stored logits, which filtered_measure.h is made of ---

  /// @param statistics  [measures] out
  virtual void logit_statistics(const StoredLogits& logits,
                                std::span<const Measure> measures,
                                std::span<LogitStatistics> statistics) = 0;

  /// @param queries  [rows]   @param bins  [rows, kNumDigits] out
  virtual void count_digits(const StoredLogits& logits,
                            std::span<const DigitQuery> queries,
                            std::span<DigitBin> bins) = 0;

  /// Logits with keys below the cut of their row become -inf.
  /// @param cuts  [rows]; 0: nothing is dropped
  virtual void drop_logits(const StoredLogits& logits, std::span<const LogitKey> cuts) = 0;
};

}  // namespace tessera::kernels
