#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "kernels/ops.h"

namespace tessera::kernels {

/// q, k and v of one sequence, bf16 [length, heads, head_dim].
struct SceneSequence {
  std::vector<std::uint16_t> q;
  std::vector<std::uint16_t> k;
  std::vector<std::uint16_t> v;
};

/// A span together with the sequence whose positions it shows.
struct SceneSpan {
  const SceneSequence* sequence = nullptr;
  AttentionSpan rows;  ///< first_row and page_table are the scene's.
};

struct SceneShape {
  std::int32_t num_q_heads = 1;
  std::int32_t num_kv_heads = 1;
  std::int32_t head_dim = 16;
  std::int32_t group() const { return num_q_heads / num_kv_heads; }
};

SceneSequence random_sequence(const SceneShape& shape, std::int32_t length, std::mt19937& rng);

std::int32_t draw(std::mt19937& rng, std::int32_t low, std::int32_t high);

/// A batch of spans, before it is laid out in memory.
struct SceneBatch {
  SceneShape shape;
  float scale = 1.0F;
  std::int32_t window = 0;
  std::vector<SceneSequence> sequences;  ///< One for each span.
  std::vector<SceneSpan> spans;
};

/// Spans of every mask kind in turn, with gaps, holes and a window now and then; up to 80 rows of
/// sequences of up to `longest` positions.
SceneBatch random_batch(std::int32_t head_dim,
                        std::int32_t group,
                        int num_spans,
                        std::uint32_t seed,
                        std::int32_t longest = 260);

/// The span, or two pieces of it that must give the same: the first rows, then the others over a
/// longer cache.
std::vector<SceneSpan> pieces_of(const SceneSpan& span, std::mt19937& rng);

/// The memory that a block_attention call on bf16 works on, with bait everywhere: NaN in slots that
/// no row sees, in pages that no table names, in holes, behind every row, in rows between spans and
/// in the new K/V of kCacheOnly.
class AttentionScene {
 public:
  /// Pages have random ids.
  /// @param padding  Elements of bait behind every row.
  AttentionScene(const SceneShape& shape,
                 std::int32_t page_size,
                 std::span<const SceneSpan> spans,
                 std::uint32_t seed,
                 std::int64_t padding = 3);

  /// Arguments to run; `out` is this scene's.
  AttentionArgs args(float scale, std::int32_t window);

  /// Output of a row of a span: bf16 [num_q_heads * head_dim].
  std::span<const std::uint16_t> out(std::size_t span, std::int32_t row) const;

  /// True if nothing but the rows of the spans was written.
  bool bait_untouched() const;

 private:
  void place_rows(const SceneSpan& span, AttentionSpan& rows);
  void fill_pages(const SceneSpan& span, std::span<const PageId> table);

  SceneShape shape_;
  std::int32_t page_size_;
  std::int64_t padding_;
  std::int32_t num_pages_ = 0;
  std::int64_t num_rows_ = 1;  // one row of bait before each span
  std::vector<AttentionSpan> spans_;
  std::vector<std::vector<PageId>> tables_;
  std::vector<std::uint16_t> q_, k_, v_, out_, k_pages_, v_pages_;
};

/// One output element in exact arithmetic, and what bounds the error of a kernel.
struct ExactOutput {
  double value = 0.0;
  double spread = 0.0;       ///< weighted mean of |v - value|
  double magnitude = 0.0;    ///< weighted mean of |v|
  double score_terms = 0.0;  ///< largest sum of |q_d k_d| scale over the keys
  std::int32_t num_keys = 0;
};

/// How far a kernel may be from the exact value that rounds its output to bf16 once, and its
/// weights by `weight_rounding`, relative. A rounded weight moves the output by at most its own
/// relative error times the spread of the values, an error e of the scores by about 2 e times the
/// spread; a score has head_dim + 8 roundings, the sums over keys one for each key.
double tolerance_of(const ExactOutput& want, std::int32_t head_dim, double weight_rounding);

/// All elements of one row and query head, by the definition in kernels/ops.h.
std::vector<ExactOutput> exact_attention(const SceneShape& shape,
                                         const SceneSpan& span,
                                         std::int32_t row,
                                         std::int32_t q_head,
                                         float scale,
                                         std::int32_t window);

}  // namespace tessera::kernels
