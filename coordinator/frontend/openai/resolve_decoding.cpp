#include <algorithm>
#include <array>

#include "common/base/error.h"
#include "coordinator/frontend/openai/resolve_request.h"
#include "strategies/strategy_registry.h"

namespace tessera {
namespace {

constexpr std::array<std::string_view, 2> kStreamKinds = {"commits", "edits"};

// No name is longer, and errors repeat names and search for the nearest one.
constexpr std::size_t kMaxOptionBytes = 64;

// Keys of `decoding` that are not options of a strategy.
constexpr double kMaxLimit = 1'000'000'000;
const OptionSpec kRequestOptions[] = {
    {.name = "strategy",
     .type = OptionType::kChoice,
     .default_value = {},
     .help = "how blocks are decoded"},
    {.name = "preset",
     .type = OptionType::kChoice,
     .default_value = {},
     .choices = kPresetNames,
     .help = "values of the strategy's options"},
    {.name = "stream",
     .type = OptionType::kChoice,
     .default_value = std::string("commits"),
     .choices = kStreamKinds,
     .help = "what a stream carries"},
    {.name = "max_nfe",
     .type = OptionType::kInteger,
     .default_value = std::int64_t{1},
     .minimum = 1,
     .maximum = kMaxLimit,
     .help = "most forward passes"},
    {.name = "max_repetition_run",
     .type = OptionType::kInteger,
     .default_value = std::int64_t{1},
     .minimum = 1,
     .maximum = kMaxLimit,
     .help = "most equal tokens in a row"},
};

std::optional<std::int32_t> limit_of(const OptionValues& given, std::string_view name) {
  const auto value = given.find(name);
  if (value == given.end()) return std::nullopt;
  return static_cast<std::int32_t>(std::get<std::int64_t>(value->second));
}

const OptionValues& values_of(const StrategyEntry& entry, Preset preset) {
  return entry.presets[static_cast<std::size_t>(preset)];
}

void put(OptionValues& values, const OptionValues& others) {
  for (const auto& [name, value] : others) values.insert_or_assign(name, value);
}

// One key at a time, so that the error can name its field.
std::optional<ApiError> refuse_option(std::span<const OptionSpec> specs,
                                      const std::string& name,
                                      const OptionValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  if (name.size() > kMaxOptionBytes || (text != nullptr && text->size() > kMaxOptionBytes)) {
    return invalid_value("decoding", "decoding has a key or a value of more than " +
                                         std::to_string(kMaxOptionBytes) + " bytes");
  }
  try {
    const StrategyOptions checked(specs, {{name, value}});
    return std::nullopt;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidArgument) throw;
    return invalid_value("decoding." + name, error.what());
  }
}

std::string divisors_of(std::int32_t page_size) {
  std::string list;
  for (std::int32_t size = 1; size <= page_size; ++size) {
    if (page_size % size == 0) list += (list.empty() ? "" : ", ") + std::to_string(size);
  }
  return list;
}

Parsed<std::shared_ptr<const Strategy>> create(const StrategyEntry& entry,
                                               const DecodingFields& fields,
                                               const ServedModel& model) {
  OptionValues values = server_options(entry, model);
  if (const auto preset = fields.options.find("preset"); preset != fields.options.end()) {
    put(values, values_of(entry, preset_of(std::get<std::string>(preset->second)).value()));
  }
  for (const auto& [name, value] : fields.options) {
    const bool is_strategy_option =
        std::ranges::find(entry.options, name, &OptionSpec::name) != entry.options.end();
    if (is_strategy_option) values.insert_or_assign(name, value);
  }
  try {
    std::shared_ptr<const Strategy> strategy = create_strategy(entry.name, model.facts, values);
    const std::int32_t block_size = strategy->traits().block_size;
    if (block_size < 1 || model.page_size % block_size != 0) {
      return invalid_value("decoding.block_size",
                           "decoding.block_size " + std::to_string(block_size) +
                               " does not divide the server's page size " +
                               std::to_string(model.page_size) +
                               "; these do: " + divisors_of(model.page_size));
    }
    const std::int32_t rows = strategy->traits().max_buffer_rows;
    if (rows > model.max_step_rows) {
      return invalid_value("decoding.buffer_size",
                           "decoding.buffer_size with blocks of " + std::to_string(block_size) +
                               " takes " + std::to_string(rows) +
                               " rows at a time, the server runs at most " +
                               std::to_string(model.max_step_rows) + " (max_step_rows)");
    }
    return strategy;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidArgument) throw;
    const bool is_unfit = !entry.refusal(model.facts).empty();
    return invalid_value(is_unfit ? "decoding.strategy" : "decoding", error.what());
  }
}

}  // namespace

OptionValues server_options(const StrategyEntry& entry, const ServedModel& model) {
  OptionValues values;
  // What the checkpoint and the configuration name belongs to the server's own strategy.
  const bool is_own = entry.name == model.strategy;
  if (is_own) values = model.checkpoint_options;
  if (model.preset) put(values, values_of(entry, *model.preset));
  if (is_own) put(values, model.strategy_options);
  return values;
}

Parsed<ResolvedDecoding> resolve_decoding(const DecodingFields& fields, const ServedModel& model) {
  const std::string name = fields.strategy.value_or(model.strategy).substr(0, kMaxOptionBytes);
  const auto entries = strategy_registry();
  const auto entry = std::ranges::find(entries, name, &StrategyEntry::name);
  if (entry == entries.end()) {
    std::string known;
    for (const StrategyEntry& other : entries) {
      known += (known.empty() ? "" : ", ") + std::string(other.name);
    }
    return invalid_value("decoding.strategy",
                         "decoding.strategy \"" + name + "\" is not known; use one of: " + known);
  }

  std::vector<OptionSpec> specs(entry->options.begin(), entry->options.end());
  specs.insert(specs.end(), std::begin(kRequestOptions), std::end(kRequestOptions));
  for (const auto& [option, value] : fields.options) {
    if (auto refusal = refuse_option(specs, option, value)) return *std::move(refusal);
  }

  auto strategy = create(*entry, fields, model);
  if (auto* error = std::get_if<ApiError>(&strategy)) return std::move(*error);
  const auto stream = fields.options.find("stream");
  return ResolvedDecoding{
      .strategy = std::get<std::shared_ptr<const Strategy>>(std::move(strategy)),
      .max_nfe = limit_of(fields.options, "max_nfe"),
      .max_repetition_run = limit_of(fields.options, "max_repetition_run"),
      .wants_edits =
          stream != fields.options.end() && std::get<std::string>(stream->second) == "edits"};
}

ResolvedDecoding default_decoding(const ServedModel& model) {
  auto decoding = resolve_decoding({}, model);
  const auto* error = std::get_if<ApiError>(&decoding);
  TESSERA_REQUIRE(error == nullptr, "the server's defaults: ", error->message);
  return std::get<ResolvedDecoding>(std::move(decoding));
}

}  // namespace tessera
