#include "common/wire/step_codec.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/base/error.h"

namespace tessera::wire {
namespace {

constexpr std::int32_t kMaxAlternatives = 8;

template <typename List, typename T>
void copy_in(const std::vector<T>& from, List to) {
  for (std::size_t i = 0; i < from.size(); ++i) to.set(static_cast<unsigned>(i), from[i]);
}

template <typename T, typename List>
std::vector<T> copy_out(List from) {
  std::vector<T> to(from.size());
  for (unsigned i = 0; i < from.size(); ++i) to[i] = from[i];
  return to;
}

unsigned count_of(std::size_t n) {
  return static_cast<unsigned>(n);
}

template <typename Enum>
Enum read_enum(std::uint8_t value, Enum last, const char* what) {
  TESSERA_CHECK_TRANSPORT(value <= static_cast<std::uint8_t>(last), "wire: ", what, " ",
                          static_cast<int>(value), " is unknown");
  return static_cast<Enum>(value);
}

std::int32_t read_count(std::int32_t value, const char* what) {
  TESSERA_CHECK_TRANSPORT(value >= 0, "wire: ", what, " ", value, " is negative");
  return value;
}

float read_finite(float value, const char* what) {
  TESSERA_CHECK_TRANSPORT(std::isfinite(value), "wire: ", what, " is not a finite number");
  return value;
}

void write_range(const PositionRange& range, schema::Range::Builder to) {
  to.setBegin(range.begin);
  to.setEnd(range.end);
}

PositionRange read_range(schema::Range::Reader from) {
  const PositionRange range{from.getBegin(), from.getEnd()};
  TESSERA_CHECK_TRANSPORT(0 <= range.begin && range.begin <= range.end, "wire: range [",
                          range.begin, ", ", range.end, ") is not one of positions");
  return range;
}

void write_recipe(const RowRecipe& row, schema::RowRecipe::Builder to) {
  const EmbeddingRecipe& recipe = row.recipe;
  to.setPosition(row.position);
  to.setKind(static_cast<std::uint8_t>(recipe.kind));
  to.setRenormalize(recipe.renormalize);
  to.setBaseId(recipe.base_id);
  to.setResidual(recipe.residual);
  to.setWeight(recipe.weight);
  const auto n = static_cast<unsigned>(recipe.num_ids);
  auto ids = to.initIds(n);
  auto probabilities = to.initProbabilities(n);
  for (unsigned i = 0; i < n; ++i) {
    ids.set(i, recipe.ids[i]);
    probabilities.set(i, recipe.probabilities[i]);
  }
}

RowRecipe read_recipe(schema::RowRecipe::Reader from) {
  RowRecipe row;
  EmbeddingRecipe& recipe = row.recipe;
  row.position = read_count(from.getPosition(), "position of a recipe");
  recipe.kind = read_enum(from.getKind(), RecipeKind::kAdd, "kind of recipe");
  recipe.renormalize = from.getRenormalize();
  recipe.base_id = from.getBaseId();
  recipe.residual = read_finite(from.getResidual(), "residual of a recipe");
  recipe.weight = read_finite(from.getWeight(), "weight of a recipe");
  const auto ids = from.getIds();
  const auto probabilities = from.getProbabilities();
  TESSERA_CHECK_TRANSPORT(
      ids.size() <= EmbeddingRecipe::kMaxIds && ids.size() == probabilities.size(),
      "wire: recipe of ", ids.size(), " ids and ", probabilities.size(), " probabilities");
  recipe.num_ids = static_cast<std::int32_t>(ids.size());
  for (unsigned i = 0; i < ids.size(); ++i) {
    recipe.ids[i] = ids[i];
    recipe.probabilities[i] = read_finite(probabilities[i], "probability of a recipe");
  }
  return row;
}

void write_measure(const Measure& measure, schema::Measure::Builder to) {
  to.setKind(static_cast<std::uint8_t>(measure.kind));
  to.setRow(measure.row);
  to.setPosition(measure.position);
  to.setDenoisingStep(measure.denoising_step);
  to.setTemperature(measure.temperature);
  to.setTopP(measure.top_p);
  to.setTopK(measure.top_k);
  to.setSeed(measure.seed);
  to.setPenalisedId(measure.penalised_id);
  to.setPenalty(measure.penalty);
  to.setNumAlternatives(measure.num_alternatives);
}

Measure read_measure(schema::Measure::Reader from) {
  Measure measure;
  measure.kind = read_enum(from.getKind(), MeasureKind::kCanvas, "kind of measure");
  measure.row = read_count(from.getRow(), "row of a measure");
  measure.position = read_count(from.getPosition(), "position of a measure");
  measure.denoising_step = read_count(from.getDenoisingStep(), "denoising step");
  measure.temperature = read_finite(from.getTemperature(), "temperature");
  measure.top_p = read_finite(from.getTopP(), "top_p");
  measure.top_k = read_count(from.getTopK(), "top_k");
  measure.seed = from.getSeed();
  measure.penalised_id = from.getPenalisedId();
  measure.penalty = read_finite(from.getPenalty(), "penalty");
  measure.num_alternatives = read_count(from.getNumAlternatives(), "number of alternatives");
  TESSERA_CHECK_TRANSPORT(measure.num_alternatives <= kMaxAlternatives,
                          "wire: ", measure.num_alternatives, " alternatives asked for, at most ",
                          kMaxAlternatives);
  return measure;
}

void write_span(const SequenceSpan& sequence, schema::Span::Builder to) {
  const Span& span = sequence.span;
  to.setRequest(sequence.request);
  to.setFirst(span.first);
  copy_in(span.tokens, to.initTokens(count_of(span.tokens.size())));
  if (!span.recipes.empty()) {
    auto recipes = to.initRecipes(count_of(span.recipes.size()));
    for (unsigned i = 0; i < recipes.size(); ++i) write_recipe(span.recipes[i], recipes[i]);
  }
  to.setSelfConditioning(span.self_conditioning);
  to.setMask(static_cast<std::uint8_t>(span.mask));
  to.setCacheLen(span.cache_len);
  if (span.cache_hole != PositionRange{}) write_range(span.cache_hole, to.initCacheHole());
  to.setMaskBlock(span.mask_block);
  to.setPromptLen(span.prompt_len);
  auto stores = to.initStores(count_of(span.stores.size()));
  for (unsigned i = 0; i < stores.size(); ++i) write_range(span.stores[i], stores[i]);
  auto measures = to.initMeasures(count_of(span.measures.size()));
  for (unsigned i = 0; i < measures.size(); ++i) write_measure(span.measures[i], measures[i]);
}

void read_span(schema::Span::Reader from, SequenceSpan& sequence) {
  Span& span = sequence.span;
  sequence.request = from.getRequest();
  span.first = read_count(from.getFirst(), "first position");
  span.tokens = copy_out<TokenId>(from.getTokens());
  TESSERA_CHECK_TRANSPORT(
      span.tokens.size() <=
          static_cast<std::size_t>(std::numeric_limits<Position>::max() - span.first),
      "wire: span of ", span.tokens.size(), " rows from position ", span.first);
  for (const auto recipe : from.getRecipes()) span.recipes.push_back(read_recipe(recipe));
  span.self_conditioning = from.getSelfConditioning();
  span.mask = read_enum(from.getMask(), MaskKind::kCacheOnly, "kind of mask");
  span.cache_len = read_count(from.getCacheLen(), "cache length");
  span.cache_hole = read_range(from.getCacheHole());
  span.mask_block = read_count(from.getMaskBlock(), "block of a mask");
  span.prompt_len = read_count(from.getPromptLen(), "prompt length");
  const auto stores = from.getStores();
  span.stores.reserve(stores.size());
  for (const auto range : stores) span.stores.push_back(read_range(range));
  const auto measures = from.getMeasures();
  span.measures.reserve(measures.size());
  for (const auto measure : measures) span.measures.push_back(read_measure(measure));
}

void write_measurement(const Measurement& measurement, schema::Measurement::Builder to) {
  to.setPosition(measurement.position);
  to.setToken(measurement.token);
  to.setConfidence(measurement.confidence);
  to.setPlainConfidence(measurement.plain_confidence);
  to.setGreedyToken(measurement.greedy_token);
  to.setEntropy(measurement.entropy);
  if (measurement.alternatives.empty()) return;
  auto alternatives = to.initAlternatives(count_of(measurement.alternatives.size()));
  for (unsigned i = 0; i < alternatives.size(); ++i) {
    alternatives[i].setToken(measurement.alternatives[i].token);
    alternatives[i].setProbability(measurement.alternatives[i].probability);
  }
}

Measurement read_measurement(schema::Measurement::Reader from) {
  Measurement measurement;
  measurement.position = read_count(from.getPosition(), "position of a measurement");
  measurement.token = read_count(from.getToken(), "token");
  measurement.confidence = read_finite(from.getConfidence(), "confidence");
  measurement.plain_confidence = read_finite(from.getPlainConfidence(), "plain confidence");
  measurement.greedy_token = read_count(from.getGreedyToken(), "greedy token");
  measurement.entropy = read_finite(from.getEntropy(), "entropy");
  const auto alternatives = from.getAlternatives();
  TESSERA_CHECK_TRANSPORT(alternatives.size() <= kMaxAlternatives, "wire: ", alternatives.size(),
                          " alternatives, at most ", kMaxAlternatives);
  for (const auto alternative : alternatives) {
    measurement.alternatives.push_back(
        {read_count(alternative.getToken(), "token"),
         read_finite(alternative.getProbability(), "probability of an alternative")});
  }
  return measurement;
}

}  // namespace

void write_plan(const StepPlan& plan, schema::StepPlan::Builder to) {
  copy_in(plan.released, to.initReleased(count_of(plan.released.size())));
  auto deltas = to.initPageTableDeltas(count_of(plan.page_table_deltas.size()));
  for (unsigned i = 0; i < deltas.size(); ++i) {
    const PageTableDelta& delta = plan.page_table_deltas[i];
    deltas[i].setRequest(delta.request);
    deltas[i].setFirstPageIndex(delta.first_page_index);
    copy_in(delta.pages, deltas[i].initPages(count_of(delta.pages.size())));
  }
  auto spans = to.initSpans(count_of(plan.spans.size()));
  for (unsigned i = 0; i < spans.size(); ++i) write_span(plan.spans[i], spans[i]);
}

void read_plan(schema::StepPlan::Reader from, StepPlan& plan) {
  plan.released = copy_out<RequestId>(from.getReleased());
  for (const auto delta : from.getPageTableDeltas()) {
    plan.page_table_deltas.push_back({delta.getRequest(),
                                      read_count(delta.getFirstPageIndex(), "page index"),
                                      copy_out<PageId>(delta.getPages())});
    for (const PageId page : plan.page_table_deltas.back().pages) read_count(page, "page id");
  }
  const auto spans = from.getSpans();
  plan.spans.resize(spans.size());
  for (unsigned i = 0; i < spans.size(); ++i) read_span(spans[i], plan.spans[i]);
}

void write_result(const StepResult& result, schema::StepResult::Builder to) {
  to.setRank(result.rank);
  to.setComputeSeconds(result.timing.compute_seconds);
  to.setCollectiveSeconds(result.timing.collective_seconds);
  auto spans = to.initSpans(count_of(result.spans.size()));
  for (unsigned i = 0; i < spans.size(); ++i) {
    const SpanResult& span = result.spans[i];
    spans[i].setRequest(span.request);
    auto measurements = spans[i].initMeasurements(count_of(span.measurements.size()));
    for (unsigned j = 0; j < measurements.size(); ++j) {
      write_measurement(span.measurements[j], measurements[j]);
    }
  }
}

void read_result(schema::StepResult::Reader from, StepResult& result) {
  result.rank = read_count(from.getRank(), "rank");
  result.timing = {from.getComputeSeconds(), from.getCollectiveSeconds()};
  TESSERA_CHECK_TRANSPORT(std::isfinite(result.timing.compute_seconds) &&
                              std::isfinite(result.timing.collective_seconds),
                          "wire: a time is not a finite number");
  const auto spans = from.getSpans();
  result.spans.resize(spans.size());
  for (unsigned i = 0; i < spans.size(); ++i) {
    result.spans[i].request = spans[i].getRequest();
    const auto measurements = spans[i].getMeasurements();
    result.spans[i].measurements.reserve(measurements.size());
    for (const auto measurement : measurements) {
      result.spans[i].measurements.push_back(read_measurement(measurement));
    }
  }
}

// Words per struct: data section + pointers, rounded up, with the list tag counted at the owner.
std::size_t estimated_words(const StepPlan& plan) {
  std::size_t words = 32 + plan.released.size();
  for (const PageTableDelta& delta : plan.page_table_deltas) words += 6 + delta.pages.size() / 2;
  for (const SequenceSpan& sequence : plan.spans) {
    const Span& span = sequence.span;
    words += 24 + span.tokens.size() / 2 + span.recipes.size() * 18 + span.stores.size() +
             span.measures.size() * 7;
  }
  return words;
}

std::size_t estimated_words(const StepResult& result) {
  std::size_t words = 32;
  for (const SpanResult& span : result.spans) {
    words += 4;
    for (const Measurement& measurement : span.measurements) {
      words += 5 + measurement.alternatives.size();
    }
  }
  return words;
}

}  // namespace tessera::wire
