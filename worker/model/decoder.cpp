#include "worker/model/decoder.h"

#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "common/model_spec/memory_plan.h"
#include "kernels/rope_table.h"
#include "worker/model/model_norm.h"

namespace tessera {
namespace {

template <typename Work>
void for_each_group(std::int64_t num_rows, std::int64_t group, const Work& work) {
  for (std::int64_t begin = 0; begin < num_rows; begin += group) {
    work(IndexRange{begin, std::min(num_rows, begin + group)});
  }
}

// The embeddings one recipe needs: those of its ids and of its base.
std::int64_t num_gathered(const EmbeddingRecipe& recipe) {
  return recipe.num_ids + 1;
}

// At least what one recipe gathers.
std::int64_t num_workspace_rows(std::int32_t max_rows) {
  return std::max(max_rows, EmbeddingRecipe::kMaxIds + 1);
}

std::span<float> values_of(const MatrixView& view) {
  return {static_cast<float*>(view.data), static_cast<std::size_t>(view.rows * view.cols)};
}

MatrixView row_range(MatrixView view, IndexRange rows) {
  view.data = view.row(rows.begin);
  view.rows = rows.size();
  return view;
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
                 TensorSum& sum,
                 std::int32_t max_rows,
                 std::int32_t num_positions)
    : spec_(spec),
      shard_(shard),
      weights_(weights),
      backend_(backend),
      sum_(sum),
      max_rows_(num_workspace_rows(max_rows)),
      group_(backend.computes_in_host_memory() ? std::min(max_rows_, kRowGroup) : max_rows_) {
  const DType activation = backend.activation_dtype();
  residual_ = workspace(DType::kFloat32, spec.hidden_size, max_rows_);
  delta_ = workspace(DType::kFloat32, spec.hidden_size, max_rows_);
  normed_ = workspace(activation, spec.hidden_size, max_rows_);
  reserve_attention();
  gate_up_ = workspace(DType::kFloat32, 2 * shard.intermediate.size(), group_);
  product_ = workspace(activation, shard.intermediate.size(), group_);
  reserve_experts();
  for (const AttentionSpec& kind : spec.attention_kinds) fill_rope(kind.rope, num_positions);
  gathered_ids_.reserve(static_cast<std::size_t>(max_rows_));
  recipe_rows_.reserve(static_cast<std::size_t>(max_rows_));
}

std::int64_t Decoder::largest_sum(const ModelSpec& spec, std::int32_t max_rows) {
  return num_workspace_rows(max_rows) * spec.hidden_size;
}

void Decoder::reserve_experts() {
  const auto layer = std::find_if(weights_.layers.begin(), weights_.layers.end(),
                                  [](const LayerWeights& l) { return l.router != nullptr; });
  if (layer == weights_.layers.end()) return;
  const MoeSpec& moe = spec_.moe;
  router_logits_ = workspace(DType::kFloat32, moe.num_experts, max_rows_);
  if (moe.beside_dense) routed_ = workspace(DType::kFloat32, spec_.hidden_size, max_rows_);
  expert_workspace_ = backend_.allocate(
      backend_.moe_workspace_bytes(layer->experts, moe.experts_per_token, max_rows_));
  const std::int64_t slots = max_rows_ * moe.experts_per_token;
  chosen_ = backend_.allocate(slots * static_cast<std::int64_t>(sizeof(std::int32_t)));
  chosen_weights_ = backend_.allocate(slots * static_cast<std::int64_t>(sizeof(float)));
}

void Decoder::reserve_attention() {
  const DType activation = backend_.activation_dtype();
  std::int64_t widest_q = 0;
  std::int64_t widest_kv = 0;
  std::int64_t widest_qkv = 0;
  for (const AttentionShard& kind : shard_.attention_kinds) {
    widest_q = std::max(widest_q, kind.q.size());
    widest_kv = std::max(widest_kv, kind.kv.size());
    widest_qkv = std::max(widest_qkv, kind.q.size() + 2 * kind.kv.size());
    attention_.push_back(workspace(activation, kind.attention.size(), max_rows_));
  }
  qkv_ = workspace(DType::kFloat32, widest_qkv, group_);
  q_ = workspace(activation, widest_q, max_rows_);
  k_ = workspace(backend_.cache_dtype(), widest_kv, max_rows_);
  v_ = workspace(backend_.cache_dtype(), widest_kv, max_rows_);
}

void Decoder::fill_rope(const RopeSpec& spec, std::int32_t num_positions) {
  const std::int64_t width = spec.width;
  std::vector<double> frequencies(static_cast<std::size_t>(width / 2), 0.0);
  for (std::int64_t j = 0; j < width / 2 - spec.num_still_pairs; ++j) {
    frequencies[static_cast<std::size_t>(j)] =
        std::pow(spec.theta, -2.0 * static_cast<double>(j) / static_cast<double>(width));
  }
  const kernels::Buffer table(num_positions * width * size_of(DType::kFloat32));
  kernels::fill_rope_table(frequencies,
                           {table.data(), DType::kFloat32, num_positions, width, width});
  const kernels::Buffer& memory = rope_memory_.emplace_back(backend_.allocate(table.num_bytes()));
  rope_.push_back({memory.data(), DType::kFloat32, num_positions, width, width});
  backend_.upload(table.data(), memory.data(), table.num_bytes());
}

Decoder::Workspace Decoder::workspace(DType dtype, std::int64_t cols, std::int64_t rows) {
  return {backend_.allocate(rows * cols * size_of(dtype)), dtype, cols};
}

std::int64_t Decoder::reserve_plans(const KvPool& pool, const kernels::AttentionRoom& room) {
  attention_kinds_.resize(spec_.attention_kinds.size());
  for (std::int32_t layer = 0; layer < spec_.num_layers; ++layer) {
    kernels::AttentionArgs& kind = attention_kinds_[spec_.kind_of(layer)];
    kind.pages = pool.layer(layer);
    kind.num_q_heads = shard_.num_q_heads;
    kind.window = spec_.attention_of(layer).window;
  }
  return backend_.reserve_attention_plans(attention_kinds_, room);
}

void Decoder::plan(const RowBatch& batch, const kernels::AttentionRoom* room) {
  for (kernels::AttentionArgs& kind : attention_kinds_) kind.spans = batch.spans;
  backend_.plan_attention(attention_kinds_, room);
}

void Decoder::run_layers(const RowBatch& batch, const KvPool& pool) {
  const std::int64_t rows = batch.num_rows();
  const MatrixView residual = residual_.rows(rows);
  const MatrixView delta = delta_.rows(rows);
  const MatrixView normed = normed_.rows(rows);
  bool has_delta = false;  // what the layer before adds is added by the norm that follows it
  const auto add_norm = [&](std::span<const float> weight) {
    if (has_delta && !spec_.norms_round_once) {
      backend_.add_rms_norm(residual, delta, weight, spec_.rms_norm_eps, normed);
    } else {
      if (has_delta) backend_.add(residual, delta);
      model_norm(backend_, spec_, residual, weight, normed);
    }
    has_delta = true;
  };
  const auto norm_delta = [&](std::span<const float> weight) {
    if (spec_.output_norms) backend_.rms_norm_once(delta, weight, spec_.rms_norm_eps, delta);
  };
  for (std::int32_t i = 0; i < spec_.num_layers; ++i) {
    const LayerWeights& layer = weights_.layers[static_cast<std::size_t>(i)];
    add_norm(layer.input_norm);
    attention(i, batch, pool.layer(i));
    norm_delta(layer.attention_out_norm);
    add_norm(layer.mlp_norm);
    feed_forward(layer, residual);
    norm_delta(layer.mlp_out_norm);
    if (spec_.layer_scalars) {
      backend_.add(residual, delta);
      has_delta = false;
      scale_layer(layer, batch, residual);
    }
  }
  if (has_delta) backend_.add(residual, delta);
}

void Decoder::scale_layer(const LayerWeights& layer,
                          const RowBatch& batch,
                          const MatrixView& residual) {
  const std::int64_t first = batch.first_canvas_row;
  backend_.scale(row_range(residual, {0, first}), layer.encoder_scalar);
  backend_.scale(row_range(residual, {first, residual.rows}), layer.canvas_scalar);
}

void Decoder::embed(const RowBatch& batch) {
  TESSERA_CHECK(batch.num_rows() <= max_rows_, "a pass of ", batch.num_rows(),
                " rows; workspaces hold ", max_rows_);
  const MatrixView residual = residual_.rows(batch.num_rows());
  gather(batch.ids, residual);
  if (spec_.canvas_length) condition(batch, residual);
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

// Rows of a canvas become rms_norm(x + mlp(rms_norm(conditioning))), also where that is zero.
void Decoder::condition(const RowBatch& batch, const MatrixView& residual) {
  const MatrixView canvas = row_range(residual, {batch.first_canvas_row, residual.rows});
  if (canvas.rows == 0) return;
  backend_.rms_norm_once(batch.conditioning, weights_.conditioning_norm, spec_.rms_norm_eps,
                         normed_.rows(canvas.rows));
  mlp(weights_.conditioning, canvas.rows);
  backend_.add(canvas, delta_.rows(canvas.rows));
  backend_.rms_norm_once(canvas, {}, spec_.rms_norm_eps, canvas);
}

void Decoder::gather(std::span<const TokenId> ids, const MatrixView& out) {
  const auto first_id = static_cast<TokenId>(shard_.vocab.begin);
  if (spec_.tie_word_embeddings) {
    backend_.gather_embeddings(*weights_.lm_head, first_id, ids, out);
  } else {
    backend_.gather_embeddings(weights_.embedding, first_id, ids, out);
  }
  reduce(out);
  if (spec_.embedding_scale != 1.0F) backend_.scale(out, spec_.embedding_scale);
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

void Decoder::attention(std::int32_t index, const RowBatch& batch, const kernels::KvPages& pages) {
  const std::int64_t rows = batch.num_rows();
  const AttentionSpec& kind = spec_.attention_of(index);
  const AttentionShard& shard = shard_.attention_of(spec_, index);
  for_each_group(rows, group_, [&](IndexRange group) { project(index, batch, pages, group); });
  const MatrixView out = attention_[spec_.kind_of(index)].rows(rows);
  backend_.block_attention({.q = leading_cols(q_.rows(rows), shard.q.size()),
                            .k = leading_cols(k_.rows(rows), shard.kv.size()),
                            .v = leading_cols(v_.rows(rows), shard.kv.size()),
                            .pages = pages,
                            .num_q_heads = shard_.num_q_heads,
                            .scale = kind.scale,
                            .window = kind.window,
                            .spans = batch.spans,
                            .out = leading_cols(out, shard.q.size()),
                            .plan = static_cast<std::int32_t>(spec_.kind_of(index))});
  backend_.gemm(out, *weights_.layers[static_cast<std::size_t>(index)].o, delta_.rows(rows));
  reduce(delta_.rows(rows));
}

void Decoder::project(std::int32_t index,
                      const RowBatch& batch,
                      const kernels::KvPages& pages,
                      IndexRange rows) {
  const LayerWeights& layer = weights_.layers[static_cast<std::size_t>(index)];
  const AttentionShard& shard = shard_.attention_of(spec_, index);
  const auto first = static_cast<std::size_t>(rows.begin);
  const auto count = static_cast<std::size_t>(rows.size());
  const MatrixView qkv = leading_cols(qkv_.rows(rows.size()), layer.qkv->shape().rows);
  kernels::QkvArgs args;
  args.qkv = qkv;
  args.num_q_heads = shard_.num_q_heads;
  args.value_from_key = spec_.attention_of(index).value_from_key;
  args.bias = layer.qkv_bias;
  args.q_norm = layer.q_norm;
  args.k_norm = layer.k_norm;
  args.value_norm = spec_.value_norm;
  args.eps = spec_.rms_norm_eps;
  args.rope = rope_[spec_.kind_of(index)];
  args.positions = batch.positions.subspan(first, count);
  args.slots = batch.slots.subspan(first, count);
  args.q = leading_cols(q_.rows(rows), shard.q.size());
  args.k = leading_cols(k_.rows(rows), shard.kv.size());
  args.v = leading_cols(v_.rows(rows), shard.kv.size());
  args.pages = pages;
  backend_.gemm(normed_.rows(rows), *layer.qkv, qkv);
  backend_.qk_norm_rope_store(args);
}

// From normed rows and, beside an MLP, the rows themselves.
void Decoder::feed_forward(const LayerWeights& layer, const MatrixView& residual) {
  const std::int64_t rows = residual.rows;
  const MatrixView delta = delta_.rows(rows);
  if (layer.mlp.gate_up) mlp(layer.mlp, rows);
  if (!layer.router) return;
  if (spec_.moe.router == RouterKind::kOwnNorm) {
    model_norm(backend_, spec_, residual, layer.router_norm, normed_.rows(rows));
  }
  route(layer, rows);
  if (!layer.mlp.gate_up) return experts(layer, delta);
  const MatrixView routed = routed_.rows(rows);
  model_norm(backend_, spec_, residual, layer.experts_norm, normed_.rows(rows));
  experts(layer, routed);
  backend_.rms_norm_once(delta, layer.dense_out_norm, spec_.rms_norm_eps, delta);
  backend_.rms_norm_once(routed, layer.experts_out_norm, spec_.rms_norm_eps, routed);
  backend_.add(delta, routed);
}

void Decoder::mlp(const MlpWeights& weights, std::int64_t num_rows) {
  for_each_group(num_rows, group_, [&](IndexRange rows) {
    const MatrixView gate_up = gate_up_.rows(rows.size());
    const MatrixView product = product_.rows(rows.size());
    backend_.gemm(normed_.rows(rows), *weights.gate_up, gate_up);
    backend_.act_mul(spec_.activation, gate_up, product);
    backend_.gemm(product, *weights.down, delta_.rows(rows));
  });
  reduce(delta_.rows(num_rows));
}

// Every rank chooses, from the same rows and the whole router, hence alike.
void Decoder::route(const LayerWeights& layer, std::int64_t num_rows) {
  const MoeSpec& moe = spec_.moe;
  const MatrixView logits = router_logits_.rows(num_rows);
  const auto slots = static_cast<std::size_t>(num_rows * moe.experts_per_token);
  backend_.gemm(normed_.rows(num_rows), *layer.router, logits);
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
       .expert_scale = layer.expert_scale,
       .experts = chosen_.values<std::int32_t>().first(slots),
       .weights = chosen_weights_.values<float>().first(slots)});
}

void Decoder::experts(const LayerWeights& layer, const MatrixView& out) {
  const std::int32_t per_token = spec_.moe.experts_per_token;
  const auto slots = static_cast<std::size_t>(out.rows * per_token);
  backend_.moe_experts({.x = normed_.rows(out.rows),
                        .weights = &layer.experts,
                        .activation = spec_.activation,
                        .experts_per_token = per_token,
                        .experts = chosen_.values<std::int32_t>().first(slots),
                        .expert_weights = chosen_weights_.values<float>().first(slots),
                        .workspace = expert_workspace_.values<std::byte>(),
                        .out = out});
  reduce(out);
}

void Decoder::reduce(const MatrixView& partial) {
  sum_.all_reduce_tree(values_of(partial));
}

}  // namespace tessera
