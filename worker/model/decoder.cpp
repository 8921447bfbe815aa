#include "worker/model/decoder.h"

#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "kernels/rope_table.h"

namespace tessera {
namespace {

// The widest rows are made and used up in groups: enough rows to make a product compute-bound, few
// enough that their workspaces stay in cache and small.
constexpr std::int64_t kRowGroup = 256;

template <typename Work>
void for_each_group(std::int64_t num_rows, const Work& work) {
  for (std::int64_t begin = 0; begin < num_rows; begin += kRowGroup) {
    work(IndexRange{begin, std::min(num_rows, begin + kRowGroup)});
  }
}

// The embeddings one recipe needs: those of its ids and of its base.
std::int64_t num_gathered(const EmbeddingRecipe& recipe) {
  return recipe.num_ids + 1;
}

std::span<float> values_of(const MatrixView& view) {
  return {static_cast<float*>(view.data), static_cast<std::size_t>(view.rows * view.cols)};
}

MatrixView leading_cols(MatrixView view, std::int64_t cols) {
  view.cols = cols;
  return view;
}

}  // namespace

Decoder::Decoder(const ModelSpec& spec,
                 const RankShard& shard,
                 const ModelWeights& weights,
                 kernels::Backend& backend,
                 Communicator& communicator,
                 std::int32_t max_rows,
                 std::int32_t num_positions)
    : spec_(spec),
      shard_(shard),
      weights_(weights),
      backend_(backend),
      sum_(create_tensor_sum(communicator, backend)),
      max_rows_(std::max(max_rows, EmbeddingRecipe::kMaxIds + 1)) {
  const DType activation = backend.activation_dtype();
  const DType cache = backend.cache_dtype();
  const std::int64_t group = std::min(max_rows_, kRowGroup);
  residual_ = workspace(DType::kFloat32, spec.hidden_size, max_rows_);
  delta_ = workspace(DType::kFloat32, spec.hidden_size, max_rows_);
  normed_ = workspace(activation, spec.hidden_size, max_rows_);
  qkv_ = workspace(DType::kFloat32, shard.q.size() + 2 * shard.kv.size(), group);
  q_ = workspace(activation, shard.q.size(), max_rows_);
  k_ = workspace(cache, shard.kv.size(), max_rows_);
  v_ = workspace(cache, shard.kv.size(), max_rows_);
  attention_ = workspace(activation, shard.attention.size(), max_rows_);
  gate_up_ = workspace(DType::kFloat32, 2 * shard.intermediate.size(), group);
  product_ = workspace(activation, shard.intermediate.size(), group);
  reserve_experts();
  fill_rope(num_positions);
  gathered_ids_.reserve(static_cast<std::size_t>(max_rows_));
  recipe_rows_.reserve(static_cast<std::size_t>(max_rows_));
}

void Decoder::reserve_experts() {
  const auto layer = std::find_if(weights_.layers.begin(), weights_.layers.end(),
                                  [](const LayerWeights& l) { return l.router != nullptr; });
  if (layer == weights_.layers.end()) return;
  const MoeSpec& moe = spec_.moe;
  router_logits_ = workspace(DType::kFloat32, moe.num_experts, max_rows_);
  expert_workspace_ = backend_.allocate(
      backend_.moe_workspace_bytes(layer->experts, moe.experts_per_token, max_rows_));
  const std::int64_t slots = max_rows_ * moe.experts_per_token;
  chosen_ = backend_.allocate(slots * static_cast<std::int64_t>(sizeof(std::int32_t)));
  chosen_weights_ = backend_.allocate(slots * static_cast<std::int64_t>(sizeof(float)));
}

void Decoder::fill_rope(std::int32_t num_positions) {
  const std::int64_t width = spec_.rope.width;
  std::vector<double> frequencies;
  for (std::int64_t j = 0; j < width / 2; ++j) {
    frequencies.push_back(
        std::pow(spec_.rope.theta, -2.0 * static_cast<double>(j) / static_cast<double>(width)));
  }
  const kernels::Buffer table(num_positions * width * size_of(DType::kFloat32));
  kernels::fill_rope_table(frequencies,
                           {table.data(), DType::kFloat32, num_positions, width, width});
  rope_memory_ = backend_.allocate(table.num_bytes());
  rope_ = {rope_memory_.data(), DType::kFloat32, num_positions, width, width};
  backend_.upload(table.data(), rope_.data, table.num_bytes());
}

Decoder::Workspace Decoder::workspace(DType dtype, std::int64_t cols, std::int64_t rows) {
  return {backend_.allocate(rows * cols * size_of(dtype)), dtype, cols};
}

MatrixView Decoder::forward(const RowBatch& batch, const KvPool& pool) {
  const std::int64_t rows = batch.num_rows();
  TESSERA_CHECK(rows <= max_rows_, "a pass of ", rows, " rows; workspaces hold ", max_rows_);
  const MatrixView residual = residual_.rows(rows);
  const MatrixView delta = delta_.rows(rows);
  const MatrixView normed = normed_.rows(rows);
  embed(batch, residual);
  bool has_delta = false;  // what the layer before adds is added by the norm that follows it
  const auto norm = [&](std::span<const float> weight) {
    if (has_delta) {
      backend_.add_rms_norm(residual, delta, weight, spec_.rms_norm_eps, normed);
    } else {
      backend_.rms_norm(residual, weight, spec_.rms_norm_eps, normed);
    }
    has_delta = true;
  };
  for (std::int32_t i = 0; i < spec_.num_layers; ++i) {
    const LayerWeights& layer = weights_.layers[static_cast<std::size_t>(i)];
    norm(layer.input_norm);
    attention(layer, batch, pool.layer(i));
    norm(layer.post_norm);
    if (layer.router) {
      experts(layer, rows);
    } else {
      mlp(layer, rows);
    }
  }
  if (has_delta) backend_.add(residual, delta);
  return residual;
}

void Decoder::embed(const RowBatch& batch, const MatrixView& residual) {
  gather(batch.ids, residual);
  auto recipes = batch.recipes;
  while (!recipes.empty()) {
    std::size_t count = 0;
    std::int64_t gathered = 0;
    while (count < recipes.size() && gathered + num_gathered(*recipes[count].recipe) <= max_rows_) {
      gathered += num_gathered(*recipes[count].recipe);
      ++count;
    }
    apply_recipes(recipes.first(count), residual);
    recipes = recipes.subspan(count);
  }
}

void Decoder::gather(std::span<const TokenId> ids, const MatrixView& out) {
  const auto first_id = static_cast<TokenId>(shard_.vocab.begin);
  if (spec_.tie_word_embeddings) {
    backend_.gather_embeddings(*weights_.lm_head, first_id, ids, out);
  } else {
    backend_.gather_embeddings(weights_.embedding, first_id, ids, out);
  }
  reduce(out);
}

void Decoder::apply_recipes(std::span<const RecipeEntry> recipes, const MatrixView& residual) {
  gathered_ids_.clear();
  recipe_rows_.clear();
  for (const RecipeEntry& entry : recipes) {
    const EmbeddingRecipe& recipe = *entry.recipe;
    recipe_rows_.push_back({&recipe, static_cast<std::int64_t>(gathered_ids_.size()), entry.row});
    gathered_ids_.insert(gathered_ids_.end(), recipe.ids.begin(),
                         recipe.ids.begin() + recipe.num_ids);
    const bool blend = recipe.kind == RecipeKind::kBlend;
    gathered_ids_.push_back(blend ? spec_.mask_id.value() : recipe.base_id);
  }
  const MatrixView gathered = delta_.rows(static_cast<std::int64_t>(gathered_ids_.size()));
  gather(gathered_ids_, gathered);
  backend_.apply_recipes(recipe_rows_, gathered, residual);
}

void Decoder::attention(const LayerWeights& layer,
                        const RowBatch& batch,
                        const kernels::KvPages& pages) {
  const std::int64_t rows = batch.num_rows();
  for_each_group(rows, [&](IndexRange group) { project(layer, batch, pages, group); });
  const MatrixView out = attention_.rows(rows);
  backend_.block_attention({.q = q_.rows(rows),
                            .k = k_.rows(rows),
                            .v = v_.rows(rows),
                            .pages = pages,
                            .num_q_heads = shard_.num_q_heads,
                            .scale = 1.0F / std::sqrt(static_cast<float>(spec_.head_dim)),
                            .window = 0,
                            .spans = batch.spans,
                            .out = leading_cols(out, shard_.q.size())});
  backend_.gemm(out, *layer.o, delta_.rows(rows));
  reduce(delta_.rows(rows));
}

void Decoder::project(const LayerWeights& layer,
                      const RowBatch& batch,
                      const kernels::KvPages& pages,
                      IndexRange rows) {
  const auto first = static_cast<std::size_t>(rows.begin);
  const auto count = static_cast<std::size_t>(rows.size());
  kernels::QkvArgs args;
  args.qkv = qkv_.rows(rows.size());
  args.num_q_heads = shard_.num_q_heads;
  args.bias = layer.qkv_bias;
  args.q_norm = layer.q_norm;
  args.k_norm = layer.k_norm;
  args.eps = spec_.rms_norm_eps;
  args.rope = rope_;
  args.positions = batch.positions.subspan(first, count);
  args.slots = batch.slots.subspan(first, count);
  args.q = q_.rows(rows);
  args.k = k_.rows(rows);
  args.v = v_.rows(rows);
  args.pages = pages;
  backend_.gemm(normed_.rows(rows), *layer.qkv, qkv_.rows(rows.size()));
  backend_.qk_norm_rope_store(args);
}

void Decoder::mlp(const LayerWeights& layer, std::int64_t num_rows) {
  for_each_group(num_rows, [&](IndexRange rows) {
    const MatrixView gate_up = gate_up_.rows(rows.size());
    const MatrixView product = product_.rows(rows.size());
    backend_.gemm(normed_.rows(rows), *layer.gate_up, gate_up);
    backend_.act_mul(kernels::Activation::kSilu, gate_up, product);
    backend_.gemm(product, *layer.down, delta_.rows(rows));
  });
  reduce(delta_.rows(num_rows));
}

// Every rank chooses, from the same rows and the whole router, hence alike.
void Decoder::experts(const LayerWeights& layer, std::int64_t num_rows) {
  const MoeSpec& moe = spec_.moe;
  const MatrixView rows = normed_.rows(num_rows);
  const MatrixView logits = router_logits_.rows(num_rows);
  const auto slots = static_cast<std::size_t>(num_rows * moe.experts_per_token);
  const std::span<std::int32_t> chosen = chosen_.values<std::int32_t>().first(slots);
  const std::span<float> chosen_weights = chosen_weights_.values<float>().first(slots);
  backend_.gemm(rows, *layer.router, logits);
  const bool is_sigmoid = moe.router == RouterKind::kGroupedSigmoid;
  backend_.moe_route(
      {.logits = logits,
       .score = is_sigmoid ? kernels::RouterScore::kSigmoid : kernels::RouterScore::kSoftmax,
       .bias = layer.router_bias,
       .num_groups = moe.num_groups,
       .groups_per_token = moe.groups_per_token,
       .experts_per_token = moe.experts_per_token,
       .normalise = moe.normalise,
       .scale = static_cast<float>(moe.scale),
       .expert_scale = {},
       .experts = chosen,
       .weights = chosen_weights});
  backend_.moe_experts({.x = rows,
                        .weights = &layer.experts,
                        .activation = kernels::Activation::kSilu,
                        .experts_per_token = moe.experts_per_token,
                        .experts = chosen,
                        .expert_weights = chosen_weights,
                        .workspace = expert_workspace_.values<std::byte>(),
                        .out = delta_.rows(num_rows)});
  reduce(delta_.rows(num_rows));
}

void Decoder::reduce(const MatrixView& partial) {
  sum_->all_reduce_tree(values_of(partial));
}

}  // namespace tessera
