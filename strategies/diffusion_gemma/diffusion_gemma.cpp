#include "strategies/diffusion_gemma/diffusion_gemma.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <utility>

#include "common/base/error.h"
#include "common/base/philox.h"
#include "strategies/templates/block_options.h"
#include "strategies/templates/sequence_rules.h"

namespace tessera {
namespace {

// Unsigned integers that compare as the numbers do; the two zeros are one.
std::uint32_t ordered_bits(float value) {
  constexpr std::uint32_t kSign = 0x80000000U;
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.0F);
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

// Orders like (entropy, index); the index is the lower half.
std::uint64_t order_key(float entropy, std::size_t index) {
  return std::uint64_t{ordered_bits(entropy)} << 32 | index;
}

// Keys of all positions, and the mean of their entropies.
double order(std::span<const Measurement> counted, std::span<std::uint64_t> keys) {
  double sum = 0.0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    sum += static_cast<double>(counted[i].entropy);
    keys[i] = order_key(counted[i].entropy, i);
  }
  return static_cast<double>(static_cast<float>(sum / static_cast<double>(counted.size())));
}

}  // namespace

/// The canvas in progress. Before the first one, and while a final one is encoded, there is none.
struct DiffusionGemma::Canvas {
  bool is_open = false;
  std::vector<TokenId> tokens;                ///< Input of the next denoising step.
  std::int32_t step = 0;                      ///< Denoising steps done.
  std::vector<std::vector<TokenId>> history;  ///< Greedy canvases of the last steps, oldest first.
};

DiffusionGemma::DiffusionGemma(const ModelFacts& facts,
                               const StrategyOptions& options,
                               const DiffusionGemmaParity& parity)
    : parity_(parity),
      canvas_len_(facts.canvas_length.value()),
      tokenizer_size_(facts.tokenizer_size),
      max_denoising_steps_(options.integer("max_denoising_steps")),
      t_min_(options.number("t_min")),
      t_max_(options.number("t_max")),
      stability_threshold_(options.integer("stability_threshold")),
      confidence_threshold_(options.number("confidence_threshold")),
      entropy_bound_(options.number("entropy_bound")) {
  TESSERA_REQUIRE(t_min_ <= t_max_, "t_min is ", t_min_, "; it must be at most t_max, which is ",
                  t_max_);
  // Canvases follow the prompt without a grid: K/V of every single position is causal.
  traits_ = {.block_size = 1,
             .max_buffer_rows = canvas_len_,
             .chunk_quantum = 1,
             .prefix_rule = PrefixRule{MaskKind::kCausal, 1}};
}

// No row of the prompt is measured, so cached pages may hold all of it.
std::int32_t DiffusionGemma::reusable_prefix_len(std::int32_t prompt_len) const {
  return prompt_len;
}

Sequence DiffusionGemma::start(std::vector<TokenId> prompt,
                               const SamplingParams& sampling,
                               const SequenceLimits& limits,
                               Position cached_len) const {
  Sequence sequence = new_sequence(std::move(prompt), sampling, limits);
  TESSERA_CHECK(cached_len >= 0 && cached_len <= sequence.prompt_len, "cached_len ", cached_len,
                " of a prompt of ", sequence.prompt_len);
  sequence.cached_len = cached_len;
  sequence.buffer_start = sequence.prompt_len;
  sequence.extra = Canvas{};
  if (cached_len == sequence.prompt_len) open_canvas(sequence);
  return sequence;
}

void DiffusionGemma::open_canvas(Sequence& sequence) const {
  Canvas canvas;
  canvas.is_open = true;
  canvas.tokens.resize(static_cast<std::size_t>(canvas_len_));
  uniform_tokens(sequence.sampling.seed, sequence.buffer_start, /*step=*/0, RandomStream::kCanvas,
                 tokenizer_size_, canvas.tokens);
  sequence.extra = std::move(canvas);
}

double DiffusionGemma::temperature(std::int32_t step) const {
  const double left = std::max(0, max_denoising_steps_ - step);
  return t_min_ + (t_max_ - t_min_) * left / max_denoising_steps_;
}

Span DiffusionGemma::encoder_rows(const Sequence& sequence, Position begin, Position end) const {
  Span span;
  span.first = begin;
  span.tokens.assign(sequence.tokens.begin() + begin, sequence.tokens.begin() + end);
  span.cache_len = begin;
  span.mask = MaskKind::kCausal;
  span.mask_block = canvas_len_;
  span.stores = {{begin, end}};
  return span;
}

Span DiffusionGemma::plan(const Sequence& sequence) const {
  const Canvas& canvas = extra_of<Canvas>(sequence);
  const auto num_tokens = static_cast<Position>(sequence.tokens.size());
  if (!canvas.is_open) return encoder_rows(sequence, sequence.cached_len, num_tokens);
  Span span;
  span.first = sequence.buffer_start;
  span.tokens = canvas.tokens;
  span.self_conditioning = canvas.step > 0;
  span.cache_len = sequence.buffer_start;
  span.mask = MaskKind::kFull;
  span.mask_block = canvas_len_;
  const auto now = static_cast<float>(temperature(canvas.step));
  Measure measure;
  measure.kind = MeasureKind::kCanvas;
  measure.denoising_step = canvas.step;
  measure.temperature = now;
  measure.seed = sequence.sampling.seed;
  span.measures.assign(canvas.tokens.size(), measure);
  for (std::size_t i = 0; i < span.measures.size(); ++i) {
    span.measures[i].row = span.measures[i].position = span.first + static_cast<Position>(i);
  }
  return span;
}

StepOutcome DiffusionGemma::apply(Sequence& sequence,
                                  const Span& span,
                                  std::span<const Measurement> measurements) const {
  TESSERA_CHECK(measurements.size() == span.measures.size(), measurements.size(),
                " measurements for ", span.measures.size(), " measures");
  StepOutcome outcome;
  if (extra_of<Canvas>(sequence).is_open) {
    denoise(sequence, measurements, outcome);
  } else {
    sequence.cached_len = sequence.buffer_start = static_cast<Position>(sequence.tokens.size());
    open_canvas(sequence);
  }
  const auto num_tokens = static_cast<Position>(sequence.tokens.size());
  const Position frontier = std::min(num_tokens, sequence.limit);
  end_step(sequence, frontier, /*eos_horizon=*/frontier);
  return outcome;
}

void DiffusionGemma::denoise(Sequence& sequence,
                             std::span<const Measurement> measured,
                             StepOutcome& outcome) const {
  Canvas& canvas = extra_of<Canvas>(sequence);
  const std::int32_t num_counted =
      parity_.ignores_rows_past_limit
          ? std::min(canvas_len_, sequence.limit - sequence.buffer_start)
          : canvas_len_;
  const auto counted = measured.first(static_cast<std::size_t>(num_counted));
  std::vector<std::uint64_t> keys(counted.size());
  const double mean = order(counted, keys);
  if (canvas.step + 1 >= max_denoising_steps_ || is_converged(canvas, counted, mean)) {
    outcome.to_cache.push_back(sequence.buffer_start);
    for (const Measurement& m : measured) {
      sequence.tokens.push_back(m.greedy_token);
      outcome.writes.push_back({m.position, m.greedy_token, m.entropy});
    }
    sequence.extra = Canvas{};
    return;
  }
  uniform_tokens(sequence.sampling.seed, sequence.buffer_start, canvas.step, RandomStream::kRenoise,
                 tokenizer_size_, canvas.tokens);
  const std::uint64_t last = last_accepted(counted, keys, mean);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] > last) continue;
    canvas.tokens[i] = measured[i].token;
    outcome.writes.push_back({measured[i].position, measured[i].token, measured[i].entropy});
  }
  std::vector<TokenId> greedy(counted.size());
  for (std::size_t i = 0; i < greedy.size(); ++i) greedy[i] = counted[i].greedy_token;
  canvas.history.push_back(std::move(greedy));
  const auto kept = static_cast<std::size_t>(std::max(stability_threshold_, 1));
  if (canvas.history.size() > kept) canvas.history.erase(canvas.history.begin());
  ++canvas.step;
}

// Stable: the last greedy canvases equal this one. Confident: the mean entropy is low.
bool DiffusionGemma::is_converged(const Canvas& canvas,
                                  std::span<const Measurement> counted,
                                  double mean) const {
  const bool is_confident =
      parity_.counts_current_canvas ? mean <= confidence_threshold_ : mean < confidence_threshold_;
  const auto needed = static_cast<std::size_t>(
      parity_.counts_current_canvas ? std::max(stability_threshold_ - 1, 0) : stability_threshold_);
  if (!is_confident || canvas.history.size() < needed) return false;
  return std::all_of(canvas.history.end() - static_cast<std::ptrdiff_t>(needed),
                     canvas.history.end(), [&](const std::vector<TokenId>& earlier) {
                       return std::equal(earlier.begin(), earlier.end(), counted.begin(),
                                         counted.end(), [](TokenId token, const Measurement& m) {
                                           return token == m.greedy_token;
                                         });
                     });
}

// In ascending entropy, the leftmost first among equals, while the entropies before sum to at most
// the bound; a negative bound accepts all. Few are accepted in most steps, so the keys are sorted
// an octave at a time, from all that lie below a quarter of the mean.
std::uint64_t DiffusionGemma::last_accepted(std::span<const Measurement> counted,
                                            std::span<const std::uint64_t> keys,
                                            double mean) const {
  constexpr std::uint64_t kOctave = std::uint64_t{1} << (32 + 23);
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  if (entropy_bound_ < 0.0) return kMax;
  std::vector<std::uint64_t> band(keys.size() + 1);  // Room for the key that is not kept.
  std::uint64_t begin = 0;
  std::uint64_t end = order_key(static_cast<float>(mean / 4), /*index=*/0);
  std::uint64_t last = 0;
  double sum = 0.0;
  for (std::size_t num_sorted = 0; num_sorted < keys.size();) {
    std::size_t size = 0;
    for (const std::uint64_t key : keys) {
      band[size] = key;
      size += static_cast<std::size_t>(key >= begin) & static_cast<std::size_t>(key < end);
    }
    std::sort(band.begin(), band.begin() + static_cast<std::ptrdiff_t>(size));
    for (std::size_t i = 0; i < size; ++i) {
      if (!(sum <= entropy_bound_)) return last;
      last = band[i];
      sum += static_cast<double>(counted[last & 0xFFFFFFFFU].entropy);
    }
    num_sorted += size;
    begin = end;
    end = end < kMax - kOctave ? end + kOctave : kMax;
  }
  return last;
}

// What conditions a canvas is lost with its worker: the canvas begins again, and as everything in
// it is a function of the seed, comes to the same tokens. Its steps are counted when they run
// again.
std::vector<Span> DiffusionGemma::rebuild(Sequence& sequence, Position cached_len) const {
  const Canvas& canvas = extra_of<Canvas>(sequence);
  if (canvas.is_open) {
    sequence.num_steps -= canvas.step;
    open_canvas(sequence);
  }
  if (cached_len >= sequence.cached_len) return {};
  return {encoder_rows(sequence, cached_len, sequence.cached_len)};
}

StrategyEntry diffusion_gemma_entry() {
  static const OptionSpec kOptions[] = {
      integer_option("max_denoising_steps", 48, 1, 4096, "Most denoising steps of a canvas (S)."),
      {.name = "t_min",
       .type = OptionType::kNumber,
       .default_value = 0.0,
       .minimum = 0.0,
       .maximum = 100.0,
       .help = "Temperature that the schedule falls to."},
      {.name = "t_max",
       .type = OptionType::kNumber,
       .default_value = 1.0,
       .minimum = 0.0,
       .maximum = 100.0,
       .help = "Temperature of the first step."},
      integer_option("stability_threshold", 2, 0, 4096,
                     "Earlier steps whose greedy canvas must equal this one's."),
      {.name = "confidence_threshold",
       .type = OptionType::kNumber,
       .default_value = 0.1,
       .minimum = 0.0,
       .maximum = 100.0,
       .help = "Mean entropy (nats) below which a stable canvas is final."},
      {.name = "entropy_bound",
       .type = OptionType::kNumber,
       .default_value = 1.0,
       .minimum = -1.0,
       .maximum = 1e6,
       .help = "Sum of entropies (nats) of the positions accepted in a step. Negative: all."},
  };
  return {.name = "diffusion_gemma",
          .summary = "Canvas after canvas is denoised from uniform noise until it is stable.",
          .options = kOptions,
          .presets = {{{{"entropy_bound", 0.1}, {"confidence_threshold", 0.005}},
                       {{"entropy_bound", 1.0}, {"confidence_threshold", 0.1}},
                       {{"entropy_bound", 2.0}, {"confidence_threshold", 0.2}}}},
          .refusal = [](const ModelFacts& facts) -> std::string {
            if (!facts.canvas_length) return "it has no canvas (canvas_length)";
            return {};
          },
          .create = [](const ModelFacts& facts,
                       const StrategyOptions& options) -> std::unique_ptr<const Strategy> {
            return std::make_unique<DiffusionGemma>(facts, options);
          }};
}

}  // namespace tessera
