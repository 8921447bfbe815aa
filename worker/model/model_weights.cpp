#include "worker/model/model_weights.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "common/tensor/padding.h"
#include "worker/model/tensor_names.h"

namespace tessera {
namespace {

using kernels::Backend;
using kernels::FloatVector;
using kernels::PackedMatrix;
using kernels::PackShape;

constexpr std::int64_t kMaxReports = 100;

// A slice of a tensor and where it goes: rows of a packed matrix, or the embedding table.
struct Slice {
  std::string name;
  IndexRange rows;
  IndexRange cols;
  PackedMatrix* packed = nullptr;
  std::int64_t first_packed_row = 0;
  MatrixView table;  // when packed is null
};

// Declares what goes where first, so that progress knows the whole, then reads.
class WeightLoader {
 public:
  WeightLoader(const ModelSpec& spec,
               const RankShard& shard,
               TensorSource& source,
               Backend& backend)
      : spec_(spec), shard_(shard), source_(source), backend_(backend) {}

  ModelWeights load(const LoadProgress& on_progress) {
    ModelWeights weights;
    const ModelNames names = model_names(spec_.layout);
    add_embedding(names, weights);
    for (std::int32_t layer = 0; layer < spec_.num_layers; ++layer) {
      weights.layers.push_back(add_layer(layer_names(spec_, layer), layer));
    }
    weights.final_norm = norm(names.final_norm);
    if (spec_.canvas_length) {
      weights.conditioning_norm = norm(names.conditioning_norm);
      weights.conditioning = add_dense_mlp(names.conditioning);
    }
    read_slices(on_progress);
    return weights;
  }

 private:
  IndexRange hidden() const { return {0, spec_.hidden_size}; }
  std::int32_t leaves() const { return kNumLeaves / shard_.tp; }

  FloatVector vector(const std::string& name, IndexRange range) {
    return {backend_, source_.read_vector(name, range)};
  }

  FloatVector norm(const std::string& module) { return vector(module + ".weight", hidden()); }

  void add(const std::string& tensor,
           IndexRange rows,
           IndexRange cols,
           PackedMatrix& packed,
           std::int64_t first_packed_row = 0) {
    slices_.push_back({tensor, rows, cols, &packed, first_packed_row, {}});
  }

  void add_embedding(const ModelNames& names, ModelWeights& weights) {
    const std::int64_t rows = shard_.vocab.size();
    const std::int64_t cols = spec_.hidden_size;
    weights.lm_head =
        backend_.create_packed({.rows = rows, .cols = cols, .k_leaves = 1, .row_leaves = leaves()});
    if (spec_.tie_word_embeddings) {
      add(names.embedding + ".weight", shard_.vocab, hidden(), *weights.lm_head);
      return;
    }
    const DType dtype = backend_.activation_dtype();
    weights.embedding_memory = backend_.allocate(rows * cols * size_of(dtype));
    const MatrixView table{weights.embedding_memory.data(), dtype, rows, cols, cols};
    weights.embedding = table;
    slices_.push_back({names.embedding + ".weight", shard_.vocab, hidden(), nullptr, 0, table});
    add(names.lm_head + ".weight", shard_.vocab, hidden(), *weights.lm_head);
  }

  LayerWeights add_layer(const LayerNames& names, std::int32_t index) {
    const AttentionShard& attention = shard_.attention_of(spec_, index);
    LayerWeights layer;
    layer.input_norm = norm(names.input_norm);
    layer.mlp_norm = norm(names.mlp_norm);
    if (spec_.output_norms) {
      layer.attention_out_norm = norm(names.attention_out_norm);
      layer.mlp_out_norm = norm(names.mlp_out_norm);
    }
    if (spec_.qk_norm) {
      const IndexRange head{0, spec_.attention_of(index).head_dim};
      layer.q_norm = vector(names.q_norm + ".weight", head);
      layer.k_norm = vector(names.k_norm + ".weight", head);
    }
    add_qkv(names, attention, layer);
    layer.o = create_reduced(attention.attention.size());
    add(names.o + ".weight", hidden(), attention.attention, *layer.o);
    const bool is_moe = spec_.moe.is_moe(index);
    if (is_moe) add_experts(names, layer);
    if (!is_moe || spec_.moe.beside_dense) layer.mlp = add_dense_mlp(names.mlp);
    if (is_moe && spec_.moe.beside_dense) {
      layer.dense_out_norm = norm(names.dense_out_norm);
      layer.experts_norm = norm(names.experts_norm);
      layer.experts_out_norm = norm(names.experts_out_norm);
    }
    if (spec_.layer_scalars) {
      layer.encoder_scalar = source_.read_vector(names.encoder_scalar, {0, 1}).front();
      layer.canvas_scalar = source_.read_vector(names.canvas_scalar, {0, 1}).front();
    }
    return layer;
  }

  MlpWeights add_dense_mlp(const MlpNames& names) {
    const IndexRange share = shard_.intermediate;
    MlpWeights mlp;
    mlp.gate_up = backend_.create_packed({.rows = 2 * share.size(), .cols = spec_.hidden_size});
    mlp.down = create_reduced(share.size());
    add_mlp(names, spec_.intermediate_size, share, *mlp.gate_up, *mlp.down);
    return mlp;
  }

  // Rows `share` of an MLP of `width`; behind its end, in the tensor, another may begin.
  static IndexRange rows_of(const TensorRows& tensor, IndexRange share, std::int64_t width) {
    return {tensor.first_row + std::min(share.begin, width),
            tensor.first_row + std::min(share.end, width)};
  }

  // MLP `index` of those that lie one behind the other in gate_up and down.
  void add_mlp(const MlpNames& names,
               std::int64_t width,
               IndexRange share,
               PackedMatrix& gate_up,
               PackedMatrix& down,
               std::int64_t index = 0) {
    const std::int64_t first = names.down.first_row;
    add(names.gate.tensor, rows_of(names.gate, share, width), hidden(), gate_up,
        2 * index * share.size());
    add(names.up.tensor, rows_of(names.up, share, width), hidden(), gate_up,
        (2 * index + 1) * share.size());
    add(names.down.tensor, {first, first + spec_.hidden_size}, share, down,
        index * spec_.hidden_size);
  }

  void add_experts(const LayerNames& names, LayerWeights& layer) {
    const MoeSpec& moe = spec_.moe;
    const IndexRange all{0, moe.num_experts};
    layer.router = backend_.create_packed({.rows = all.end, .cols = spec_.hidden_size});
    add(names.router + ".weight", all, hidden(), *layer.router);
    if (!names.router_bias.empty()) layer.router_bias = vector(names.router_bias, all);
    if (moe.router == RouterKind::kOwnNorm) {
      std::vector<float> scale = source_.read_vector(names.router_scale, hidden());
      const float factor = 1.0F / std::sqrt(static_cast<float>(spec_.hidden_size));
      for (float& weight : scale) weight *= factor;
      layer.router_norm = {backend_, scale};
      layer.expert_scale = vector(names.expert_scale, all);
    }
    add_routed_experts(names, layer.experts);
    if (moe.shared_intermediate_size == 0) return;
    const std::int64_t width = shard_.shared.size();
    layer.experts.shared_gate_up = create_gated(1, width);
    layer.experts.shared_down = create_reduced(width);
    add_mlp(names.shared, moe.shared_intermediate_size, shard_.shared,
            *layer.experts.shared_gate_up, *layer.experts.shared_down);
  }

  void add_routed_experts(const LayerNames& names, kernels::ExpertWeights& experts) {
    const auto count = static_cast<std::int32_t>(shard_.experts.size());
    const auto first = static_cast<std::int32_t>(shard_.experts.begin);
    const bool is_by_width = shard_.expert_sharding == ExpertSharding::kByWidth;
    experts.num_experts = spec_.moe.num_experts;
    experts.first_expert = first;
    experts.num_leaves = leaves();
    experts.gate_up = create_gated(count, shard_.expert.size());
    experts.down = backend_.create_packed({.rows = std::int64_t{count} * spec_.hidden_size,
                                           .cols = shard_.expert.size(),
                                           .k_leaves = is_by_width ? leaves() : 1,
                                           .row_leaves = count});
    for (std::int32_t i = 0; i < count; ++i) {
      add_mlp(expert_names(spec_, names, first + i), spec_.moe.intermediate_size, shard_.expert,
              *experts.gate_up, *experts.down, i);
    }
  }

  std::unique_ptr<PackedMatrix> create_gated(std::int32_t num_experts, std::int64_t width) {
    return backend_.create_packed({.rows = 2 * num_experts * width,
                                   .cols = spec_.hidden_size,
                                   .k_leaves = 1,
                                   .row_leaves = num_experts,
                                   .gated = true});
  }

  void add_qkv(const LayerNames& names, const AttentionShard& shard, LayerWeights& layer) {
    const std::pair<const ModuleRows*, IndexRange> parts[] = {
        {&names.q, shard.q}, {&names.k, shard.kv}, {&names.v, shard.kv}};
    std::int64_t num_rows = 0;
    for (const auto& [part, rows] : parts) num_rows += part->module.empty() ? 0 : rows.size();
    layer.qkv = backend_.create_packed({.rows = num_rows, .cols = spec_.hidden_size});
    std::int64_t first_packed_row = 0;
    std::vector<float> biases;
    for (const auto& [part, rows] : parts) {
      if (part->module.empty()) continue;
      const IndexRange in_module{part->first_row + rows.begin, part->first_row + rows.end};
      add(part->module + ".weight", in_module, hidden(), *layer.qkv, first_packed_row);
      first_packed_row += rows.size();
      if (!spec_.qkv_bias) continue;
      const std::vector<float> bias = source_.read_vector(part->module + ".bias", in_module);
      biases.insert(biases.end(), bias.begin(), bias.end());
    }
    layer.qkv_bias = {backend_, biases};
  }

  // For a weight whose products are summed over ranks.
  std::unique_ptr<PackedMatrix> create_reduced(std::int64_t cols) {
    return backend_.create_packed(
        {.rows = spec_.hidden_size, .cols = cols, .k_leaves = leaves(), .row_leaves = 1});
  }

  std::int64_t row_bytes(const Slice& slice) const {
    return slice.cols.size() * size_of(source_.stored_dtype(slice.name));
  }

  void read_slices(const LoadProgress& on_progress) {
    std::int64_t total = 0;
    for (const Slice& slice : slices_) total += slice.rows.size() * row_bytes(slice);
    std::int64_t before = 0;  // bytes of the slices that are done
    std::int64_t next_report = 0;
    for (const Slice& slice : slices_) {
      const auto report = [&](std::int64_t num_rows) {
        const std::int64_t done = before + num_rows * row_bytes(slice);
        if (!on_progress || (done < next_report && done < total)) return;
        on_progress(done, total);
        next_report = done + total / kMaxReports;
      };
      if (slice.packed != nullptr) {
        pack_slice(slice, report);
      } else {
        read_table(slice, report);
      }
      before += slice.rows.size() * row_bytes(slice);
    }
  }

  // What reaches beyond the tensor is not visited: packed matrices start as zeros.
  template <typename OnRows>
  void pack_slice(const Slice& slice, const OnRows& on_rows) {
    std::int64_t done = 0;
    const auto pack = [&](std::int64_t first_row, const ConstMatrixView& part) {
      backend_.pack_rows(*slice.packed, slice.first_packed_row + first_row, part);
      done = first_row + part.rows;
      on_rows(done);
    };
    source_.visit_matrix(slice.name, slice.rows, slice.cols, pack);
    if (done < slice.rows.size()) on_rows(slice.rows.size());
  }

  template <typename OnRows>
  void read_table(const Slice& slice, const OnRows& on_rows) {
    constexpr std::int64_t kPartRows = 256;
    const DType dtype = slice.table.dtype;
    const std::int64_t cols = slice.cols.size();
    const kernels::Buffer part(kPartRows * cols * size_of(dtype));
    for (std::int64_t done = 0; done < slice.rows.size();) {
      const std::int64_t count = std::min(kPartRows, slice.rows.size() - done);
      const std::int64_t first = slice.rows.begin + done;
      source_.read_matrix(slice.name, {first, first + count}, slice.cols,
                          {part.data(), dtype, count, cols, cols});
      backend_.upload(part.data(), slice.table.row(done), count * cols * size_of(dtype));
      done += count;
      on_rows(done);
    }
  }

  const ModelSpec& spec_;
  const RankShard& shard_;
  TensorSource& source_;
  Backend& backend_;
  std::vector<Slice> slices_;
};

}  // namespace

ModelWeights load_weights(const ModelSpec& spec,
                          const RankShard& shard,
                          TensorSource& source,
                          Backend& backend,
                          const LoadProgress& on_progress) {
  return WeightLoader(spec, shard, source, backend).load(on_progress);
}

}  // namespace tessera
