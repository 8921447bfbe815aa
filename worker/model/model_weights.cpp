#include "worker/model/model_weights.h"

#include <algorithm>
#include <string>

#include "common/tensor/padding.h"
#include "worker/model/tensor_names.h"

namespace tessera {
namespace {

using kernels::Backend;
using kernels::FloatVector;
using kernels::PackedMatrix;
using kernels::PackShape;

constexpr std::int64_t kChunkBytes = 512 << 10;  // stays in L2 until it is packed
constexpr std::int64_t kRowGroup = 64;           // rows that a back end likes to pack at a time
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
      weights.layers.push_back(add_layer(layer_names(spec_, layer), spec_.moe.is_moe(layer)));
    }
    weights.final_norm = vector(names.final_norm + ".weight", {0, spec_.hidden_size});
    read_slices(on_progress);
    return weights;
  }

 private:
  IndexRange hidden() const { return {0, spec_.hidden_size}; }
  std::int32_t leaves() const { return kNumLeaves / shard_.tp; }

  FloatVector vector(const std::string& name, IndexRange range) {
    return {backend_, source_.read_vector(name, range)};
  }

  void add(const std::string& module,
           IndexRange rows,
           IndexRange cols,
           PackedMatrix& packed,
           std::int64_t first_packed_row = 0) {
    slices_.push_back({module + ".weight", rows, cols, &packed, first_packed_row, {}});
  }

  void add_embedding(const ModelNames& names, ModelWeights& weights) {
    const std::int64_t rows = shard_.vocab.size();
    const std::int64_t cols = spec_.hidden_size;
    weights.lm_head =
        backend_.create_packed({.rows = rows, .cols = cols, .k_leaves = 1, .row_leaves = leaves()});
    if (spec_.tie_word_embeddings) {
      add(names.embedding, shard_.vocab, hidden(), *weights.lm_head);
      return;
    }
    const DType dtype = backend_.activation_dtype();
    weights.embedding_memory = backend_.allocate(rows * cols * size_of(dtype));
    const MatrixView table{weights.embedding_memory.data(), dtype, rows, cols, cols};
    weights.embedding = table;
    slices_.push_back({names.embedding + ".weight", shard_.vocab, hidden(), nullptr, 0, table});
    add(names.lm_head, shard_.vocab, hidden(), *weights.lm_head);
  }

  LayerWeights add_layer(const LayerNames& names, bool is_moe) {
    LayerWeights layer;
    layer.input_norm = vector(names.input_norm + ".weight", hidden());
    layer.post_norm = vector(names.post_norm + ".weight", hidden());
    if (spec_.qk_norm) {
      layer.q_norm = vector(names.q_norm + ".weight", {0, spec_.head_dim});
      layer.k_norm = vector(names.k_norm + ".weight", {0, spec_.head_dim});
    }
    add_qkv(names, layer);
    layer.o = reduced(names.o, shard_.attention);
    if (is_moe) {
      add_experts(names, layer);
    } else {
      add_mlp(names.mlp, shard_.intermediate, layer.gate_up, layer.down);
    }
    return layer;
  }

  void add_mlp(const MlpNames& names,
               IndexRange width,
               std::unique_ptr<PackedMatrix>& gate_up,
               std::unique_ptr<PackedMatrix>& down) {
    gate_up = backend_.create_packed({.rows = 2 * width.size(), .cols = spec_.hidden_size});
    add(names.gate, width, hidden(), *gate_up);
    add(names.up, width, hidden(), *gate_up, width.size());
    down = reduced(names.down, width);
  }

  void add_experts(const LayerNames& names, LayerWeights& layer) {
    const IndexRange all{0, spec_.moe.num_experts};
    layer.router = backend_.create_packed({.rows = all.end, .cols = spec_.hidden_size});
    add(names.router, all, hidden(), *layer.router);
    if (!names.router_bias.empty()) layer.router_bias = vector(names.router_bias, all);
    kernels::ExpertWeights& experts = layer.experts;
    for (std::int32_t e = 0; e < spec_.moe.num_experts; ++e) {
      add_mlp(expert_names(names, e), shard_.expert, experts.gate_up.emplace_back(),
              experts.down.emplace_back());
    }
    if (spec_.moe.shared_intermediate_size > 0) {
      add_mlp(names.shared, shard_.shared, experts.shared_gate_up, experts.shared_down);
    }
  }

  void add_qkv(const LayerNames& names, LayerWeights& layer) {
    const std::int64_t q = shard_.q.size();
    const std::int64_t kv = shard_.kv.size();
    layer.qkv = backend_.create_packed({.rows = q + 2 * kv, .cols = spec_.hidden_size});
    const std::pair<const ModuleRows*, IndexRange> parts[] = {
        {&names.q, shard_.q}, {&names.k, shard_.kv}, {&names.v, shard_.kv}};
    std::int64_t first_packed_row = 0;
    std::vector<float> biases;
    for (const auto& [part, rows] : parts) {
      const IndexRange in_module{part->first_row + rows.begin, part->first_row + rows.end};
      add(part->module, in_module, hidden(), *layer.qkv, first_packed_row);
      first_packed_row += rows.size();
      if (!spec_.qkv_bias) continue;
      const std::vector<float> bias = source_.read_vector(part->module + ".bias", in_module);
      biases.insert(biases.end(), bias.begin(), bias.end());
    }
    layer.qkv_bias = {backend_, biases};
  }

  // A weight whose products are summed over ranks.
  std::unique_ptr<PackedMatrix> reduced(const std::string& module, IndexRange cols) {
    auto packed = backend_.create_packed(
        {.rows = spec_.hidden_size, .cols = cols.size(), .k_leaves = leaves(), .row_leaves = 1});
    add(module, hidden(), cols, *packed);
    return packed;
  }

  // What packs as bf16 in the end is read as such: half the bytes to move.
  DType read_dtype(const Slice& slice) const {
    if (slice.packed == nullptr) return slice.table.dtype;
    return source_.is_bf16(slice.name) ? DType::kBFloat16 : DType::kFloat32;
  }

  std::int64_t num_bytes(const Slice& slice) const {
    return slice.rows.size() * slice.cols.size() * size_of(read_dtype(slice));
  }

  void read_slices(const LoadProgress& on_progress) {
    std::int64_t total = 0;
    for (const Slice& slice : slices_) total += num_bytes(slice);
    std::int64_t done = 0;
    std::int64_t next_report = 0;
    for (const Slice& slice : slices_) {
      read_slice(slice, [&](std::int64_t bytes) {
        done += bytes;
        if (!on_progress || (done < next_report && done < total)) return;
        on_progress(done, total);
        next_report = done + total / kMaxReports;
      });
    }
  }

  template <typename OnBytes>
  void read_slice(const Slice& slice, const OnBytes& on_bytes) {
    const DType dtype = read_dtype(slice);
    const std::int64_t cols = slice.cols.size();
    const std::int64_t row_bytes = std::max<std::int64_t>(1, cols * size_of(dtype));
    const std::int64_t chunk =
        round_up(std::max<std::int64_t>(1, kChunkBytes / row_bytes), kRowGroup);
    for (std::int64_t done = 0; done < slice.rows.size(); done += chunk) {
      const std::int64_t count = std::min(chunk, slice.rows.size() - done);
      const IndexRange rows{slice.rows.begin + done, slice.rows.begin + done + count};
      const MatrixView part = chunk_view(dtype, count, cols);
      source_.read_matrix(slice.name, rows, slice.cols, part);
      if (slice.packed == nullptr) {
        backend_.upload(part.data, slice.table.row(done), count * row_bytes);
      } else {
        backend_.pack_rows(*slice.packed, slice.first_packed_row + done, part);
      }
      on_bytes(count * row_bytes);
    }
  }

  MatrixView chunk_view(DType dtype, std::int64_t rows, std::int64_t cols) {
    const std::int64_t bytes = rows * cols * size_of(dtype);
    if (chunk_.num_bytes() < bytes) chunk_ = kernels::Buffer(bytes);
    return {chunk_.data(), dtype, rows, cols, cols};
  }

  const ModelSpec& spec_;
  const RankShard& shard_;
  TensorSource& source_;
  Backend& backend_;
  std::vector<Slice> slices_;
  kernels::Buffer chunk_;
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
