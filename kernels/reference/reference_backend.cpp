#include "kernels/reference/reference_backend.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "common/base/error.h"
#include "kernels/convert.h"
#include "kernels/host_backend.h"
#include "kernels/measure_row.h"
#include "kernels/op_checks.h"
#include "kernels/partition.h"
#include "kernels/reference/reference_ops.h"

namespace tessera::kernels {
namespace {

float* float_row(const MatrixView& view, std::int64_t row) {
  return static_cast<float*>(view.row(row));
}
const float* float_row(const ConstMatrixView& view, std::int64_t row) {
  return static_cast<const float*>(view.row(row));
}

double norm_of(const float* row, std::int64_t cols) {
  double squares = 0.0;
  for (std::int64_t j = 0; j < cols; ++j) squares += static_cast<double>(row[j]) * double{row[j]};
  return std::sqrt(squares);
}

void apply_recipe(const RecipeRow& row, const ConstMatrixView& gathered, const MatrixView& out) {
  const EmbeddingRecipe& recipe = *row.recipe;
  const bool blend = recipe.kind == RecipeKind::kBlend;
  const double base_weight = blend ? recipe.residual : 1.0F;
  const double id_weight = blend ? 1.0F : recipe.weight;
  const std::int64_t base = row.first_gathered + recipe.num_ids;
  float* result = float_row(out, row.out_row);
  double squares = 0.0;
  double wanted = base_weight * norm_of(float_row(gathered, base), out.cols);
  for (std::int32_t i = 0; i < recipe.num_ids; ++i) {
    wanted += double{recipe.probabilities[static_cast<std::size_t>(i)]} *
              norm_of(float_row(gathered, row.first_gathered + i), out.cols);
  }
  for (std::int64_t j = 0; j < out.cols; ++j) {
    double sum = 0.0;
    for (std::int32_t i = 0; i < recipe.num_ids; ++i) {
      sum += double{recipe.probabilities[static_cast<std::size_t>(i)]} *
             double{float_row(gathered, row.first_gathered + i)[j]};
    }
    sum = id_weight * sum + base_weight * double{float_row(gathered, base)[j]};
    squares += sum * sum;
    result[j] = static_cast<float>(sum);
  }
  if (!blend || !recipe.renormalize) return;
  const double factor = wanted / std::max(std::sqrt(squares), 1e-12);
  for (std::int64_t j = 0; j < out.cols; ++j) {
    result[j] = static_cast<float>(double{result[j]} * factor);
  }
}

void soft_cap(float* row, std::int64_t cols, float cap) {
  for (std::int64_t j = 0; j < cols; ++j) {
    row[j] = static_cast<float>(cap * std::tanh(double{row[j]} / cap));
  }
}

class ReferenceBackend final : public HostBackend {
 public:
  std::string_view device_name() const override { return "reference"; }
  DType activation_dtype() const override { return DType::kFloat32; }
  DType cache_dtype() const override { return DType::kFloat32; }

  std::unique_ptr<PackedMatrix> create_packed(const PackShape& shape) override {
    check_shape(shape);
    return std::make_unique<ReferenceMatrix>(shape);
  }

  void pack_rows(PackedMatrix& matrix, std::int64_t first_row, ConstMatrixView rows) override {
    const ReferenceMatrix& own = reference_matrix(matrix);
    check_pack_rows(own.shape(), first_row, rows);
    for (std::int64_t row = 0; row < rows.rows; ++row) {
      for (std::int64_t k = 0; k < rows.cols; ++k) {
        own.values()[k * own.shape().rows + first_row + row] =
            load_element(rows.row(row), rows.dtype, k);
      }
    }
  }

  void gather_embeddings(ConstMatrixView table,
                         TokenId first_id,
                         std::span<const TokenId> ids,
                         MatrixView out) override {
    check_gather_embeddings(table, ids, out);
    gather(table.rows, first_id, ids, out, [&](std::int64_t row, std::int64_t k) {
      return load_element(table.row(row), table.dtype, k);
    });
  }

  void gather_embeddings(const PackedMatrix& table,
                         TokenId first_id,
                         std::span<const TokenId> ids,
                         MatrixView out) override {
    const ReferenceMatrix& own = reference_matrix(table);
    check_gather_packed(own.shape(), ids, out);
    gather(own.shape().rows, first_id, ids, out, [&](std::int64_t row, std::int64_t k) {
      return own.values()[k * own.shape().rows + row];
    });
  }

  void apply_recipes(std::span<const RecipeRow> rows,
                     ConstMatrixView gathered,
                     MatrixView out) override {
    check_recipes(rows, gathered, out);
    for (const RecipeRow& row : rows) apply_recipe(row, gathered, out);
  }

  void rms_norm(ConstMatrixView x,
                std::span<const float> weight,
                float eps,
                MatrixView out) override {
    check_rms_norm(x, weight, out, DType::kFloat32);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const float* in = float_row(x, row);
      double squares = 0.0;
      for (std::int64_t j = 0; j < x.cols; ++j) squares += double{in[j]} * double{in[j]};
      const double scale = 1.0 / std::sqrt(squares / static_cast<double>(x.cols) + double{eps});
      for (std::int64_t j = 0; j < x.cols; ++j) {
        const auto normal = static_cast<float>(double{in[j]} * scale);
        float_row(out, row)[j] = weight[static_cast<std::size_t>(j)] * normal;
      }
    }
  }

  void add_rms_norm(MatrixView residual,
                    ConstMatrixView delta,
                    std::span<const float> weight,
                    float eps,
                    MatrixView out) override {
    check_rms_norm(residual, weight, out, DType::kFloat32);
    add(residual, delta);
    rms_norm(residual, weight, eps, out);
  }

  void rms_norm_once(ConstMatrixView x,
                     std::span<const float> weight,
                     float eps,
                     MatrixView out) override {
    check_rms_norm_once(x, weight, out, DType::kFloat32);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const float* in = float_row(x, row);
      double squares = 0.0;
      for (std::int64_t j = 0; j < x.cols; ++j) squares += double{in[j]} * double{in[j]};
      const double scale = 1.0 / std::sqrt(squares / static_cast<double>(x.cols) + double{eps});
      for (std::int64_t j = 0; j < x.cols; ++j) {
        const double w = weight.empty() ? 1.0 : double{weight[static_cast<std::size_t>(j)]};
        float_row(out, row)[j] = static_cast<float>(w * (double{in[j]} * scale));
      }
    }
  }

  void scale(MatrixView x, float factor) override {
    check_scale(x);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      for (std::int64_t j = 0; j < x.cols; ++j) float_row(x, row)[j] *= factor;
    }
  }

  void act_mul(Activation activation, ConstMatrixView gate_up, MatrixView out) override {
    check_act_mul(gate_up, out, DType::kFloat32);
    const auto width = static_cast<std::size_t>(out.cols);
    for (std::int64_t row = 0; row < out.rows; ++row) {
      gated_product(activation, {float_row(gate_up, row), 2 * width}, {float_row(out, row), width});
    }
  }

  void add(MatrixView sum, ConstMatrixView x) override {
    check_same_shape("add", sum, x);
    for (std::int64_t row = 0; row < sum.rows; ++row) {
      for (std::int64_t j = 0; j < sum.cols; ++j) float_row(sum, row)[j] += float_row(x, row)[j];
    }
  }

  void gather_rows(ConstMatrixView x, std::span<const std::int64_t> rows, MatrixView out) override {
    check_gather_rows(x, rows, out);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(float_row(x, rows[i]), x.cols, float_row(out, static_cast<std::int64_t>(i)));
    }
  }

  void qk_norm_rope_store(const QkvArgs& args) override {
    check_qkv(args, DType::kFloat32, DType::kFloat32);
    qk_norm_rope_store_reference(args);
  }

  void block_attention(const AttentionArgs& args) override {
    check_attention(args, DType::kFloat32, DType::kFloat32);
    block_attention_reference(args);
  }

  void gemm(ConstMatrixView a, const PackedMatrix& w, MatrixView c) override {
    check_gemm(a, w.shape(), c, DType::kFloat32);
    gemm_reference(a, reference_matrix(w), c);
  }

  void moe_route(const RouteArgs& args) override {
    check_route(args);
    route_rows(args, 0, args.logits.rows);
  }

  std::int64_t moe_workspace_bytes(const ExpertWeights&,
                                   std::int32_t,
                                   std::int64_t) const override {
    return 0;
  }

  void moe_experts(const MoeArgs& args) override {
    check_moe(args, DType::kFloat32);
    check_expert_ids(args);
    moe_experts_reference(args);
  }

  std::int64_t measure_workspace_bytes(const PackedMatrix& lm_head, std::int64_t) const override {
    return lm_head.shape().rows * size_of(DType::kFloat32);  // one row at a time
  }

  void measure(ConstMatrixView hidden,
               const PackedMatrix& lm_head,
               const VocabularyShard& vocabulary,
               std::span<const Measure> measures,
               std::span<std::byte> workspace,
               std::span<MeasurePartial> partials) override {
    check_measure(hidden, lm_head.shape(), measures, static_cast<std::int64_t>(partials.size()),
                  DType::kFloat32);
    const std::int64_t cols = lm_head.shape().rows;
    TESSERA_REQUIRE(static_cast<std::int64_t>(workspace.size()) >=
                        measure_workspace_bytes(lm_head, hidden.rows),
                    "measure: workspace of ", workspace.size(), " bytes");
    const MatrixView row{workspace.data(), DType::kFloat32, 1, cols, cols};
    for (std::size_t i = 0; i < measures.size(); ++i) {
      const auto* x = hidden.row(static_cast<std::int64_t>(i));
      logits({x, hidden.dtype, 1, hidden.cols, hidden.row_stride}, lm_head, vocabulary,
             measures.subspan(i, 1), row);
      measure_logits(row, lm_head, vocabulary.first_id, measures.subspan(i, 1), {},
                     partials.subspan(i, 1));
    }
  }

  void logits(ConstMatrixView hidden,
              const PackedMatrix& lm_head,
              const VocabularyShard& vocabulary,
              std::span<const Measure> measures,
              MatrixView logits) override {
    check_measure(hidden, lm_head.shape(), measures, logits.rows, DType::kFloat32);
    gemm(hidden, lm_head, logits);
    for (std::size_t i = 0; i < measures.size(); ++i) {
      float* row = float_row(logits, static_cast<std::int64_t>(i));
      if (vocabulary.softcap > 0.0F) soft_cap(row, logits.cols, vocabulary.softcap);
      exclude_ids({row, static_cast<std::size_t>(logits.cols)}, vocabulary.first_id, vocabulary,
                  measures[i]);
    }
  }

  void measure_logits(ConstMatrixView logits,
                      const PackedMatrix& lm_head,
                      TokenId first_id,
                      std::span<const Measure> measures,
                      std::span<std::byte>,
                      std::span<MeasurePartial> partials) override {
    check_measure_logits(logits, lm_head.shape(), measures,
                         static_cast<std::int64_t>(partials.size()));
    const std::int32_t num_leaves = lm_head.shape().row_leaves;
    const std::int64_t leaf = logits.cols / num_leaves;
    for (std::size_t i = 0; i < measures.size(); ++i) {
      const float* row = float_row(logits, static_cast<std::int64_t>(i));
      std::array<MeasurePartial, kNumLeaves> leaves;
      for (std::int64_t l = 0; l < num_leaves; ++l) {
        leaves[static_cast<std::size_t>(l)] =
            measure_leaf({row + l * leaf, static_cast<std::size_t>(leaf)},
                         first_id + static_cast<TokenId>(l * leaf), measures[i]);
      }
      for_each_branch(num_leaves, [&](std::int32_t left, std::int32_t right) {
        auto& sum = leaves[static_cast<std::size_t>(left)];
        sum = merge(sum, leaves[static_cast<std::size_t>(right)]);
      });
      partials[i] = leaves[0];
    }
  }

  std::int64_t soft_embedding_workspace_bytes(const PackedMatrix& table,
                                              std::int64_t) const override {
    return table.shape().rows * size_of(DType::kFloat32);  // one row at a time
  }

  void soft_embedding(const SoftEmbeddingArgs& args) override {
    TESSERA_REQUIRE(args.table != nullptr, "soft_embedding: no table");
    check_soft_embedding(args, args.table->shape().rows * size_of(DType::kFloat32));
    soft_embedding_reference(args);
  }

 private:
  template <typename Load>
  static void gather(std::int64_t num_rows,
                     TokenId first_id,
                     std::span<const TokenId> ids,
                     const MatrixView& out,
                     const Load& load) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::int64_t row = std::int64_t{ids[i]} - first_id;
      float* result = float_row(out, static_cast<std::int64_t>(i));
      for (std::int64_t k = 0; k < out.cols; ++k) {
        result[k] = row >= 0 && row < num_rows ? load(row, k) + 0.0F : 0.0F;
      }
    }
  }
};

}  // namespace

const ReferenceMatrix& reference_matrix(const PackedMatrix& matrix) {
  const auto* own = dynamic_cast<const ReferenceMatrix*>(&matrix);
  TESSERA_REQUIRE(own != nullptr, "packed matrix of another back end");
  return *own;
}

std::unique_ptr<Backend> create_reference_backend(const BackendOptions&) {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace tessera::kernels
