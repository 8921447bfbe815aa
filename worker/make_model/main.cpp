#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

#include "common/base/error.h"
#include "worker/make_model/make_model.h"

namespace {

namespace fs = std::filesystem;
using tessera::MakeModelOptions;
using tessera::ModelShape;

constexpr int kExitUsage = 64;

// The bundled model lies beside the build tree, and beside the binaries of an archive.
fs::path bundled_model() {
  const fs::path program = fs::read_symlink("/proc/self/exe");
  for (fs::path folder = program.parent_path(); folder.has_relative_path();
       folder = folder.parent_path()) {
    const fs::path model = folder / "deploy/models/tiny-sdar";
    if (fs::exists(model / "tokenizer.json")) return model;
  }
  TESSERA_REQUIRE(false, "the bundled tokenizer (deploy/models/tiny-sdar) is not near ",
                  program.string(), ": give one with --tokenizer DIR");
  return {};
}

std::string joined(std::span<const std::string_view> names) {
  std::string text;
  for (const std::string_view name : names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

std::string preset_table() {
  std::string text = "Presets, shapes of published models:\n";
  for (const auto& [name, shape] : tessera::model_presets()) {
    text += tessera::detail::concat("  ", name, std::string(22 - name.size(), ' '), "--family ",
                                    shape.family, " --hidden-size ", shape.hidden_size,
                                    " --num-layers ", shape.num_layers, " ...\n");
  }
  return text +
         "\nExamples:\n"
         "  tessera make-model /tmp/m --preset sdar-1.7b\n"
         "  tessera make-model /tmp/m --preset qwen3-0.6b --num-layers 2 --dtype f32\n"
         "  tessera make-model /tmp/m --config SDAR-4B/config.json --tokenizer SDAR-4B\n"
         "\nExit codes: 0, 1 if writing failed, 64 for wrong arguments.";
}

/// The command line. Members are what its flags write to.
class CommandLine {
 public:
  CommandLine() {
    app_.add_option("DIR", output_, "Directory to make")->required();
    auto* config = app_.add_option("--config", config_, "Make the model of this config.json");
    auto* preset = app_.add_option("--preset", preset_, "Start from the shape of a known model");
    preset->excludes(config);
    add_shape(config);
    app_.add_option("--tokenizer", tokenizer_,
                    "Copy tokenizer and chat template of this model directory, with the token ids "
                    "of its config.json; without it the bundled tokenizer is padded to the "
                    "vocabulary");
    app_.add_option("--dtype", dtype_, "bf16 or f32; the values are the same")
        ->capture_default_str()
        ->check(CLI::IsMember({"bf16", "f32"}));
    app_.add_option("--seed", options_.seed, "Equal seeds make equal weights")
        ->capture_default_str();
    app_.add_option("--max-shard-mb", max_shard_mb_, "Size of a safetensors file, in MiB")
        ->capture_default_str()
        ->check(CLI::Range(1, 1 << 20));
    app_.add_flag("--force", options_.replace, "Replace DIR if it is a model");
    app_.footer(preset_table());
  }

  /// Empty after --help, which it has printed.
  std::optional<MakeModelOptions> read(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
      std::printf("%s", app_.help().c_str());
      return std::nullopt;
    } catch (const CLI::ParseError& error) {
      TESSERA_REQUIRE(false, error.what(), " (try --help)");
    }
    options_.output_dir = fs::path(output_).lexically_normal();
    if (!options_.output_dir.has_filename()) {
      options_.output_dir = options_.output_dir.parent_path();  // "m/" is "m"
    }
    options_.config_file = config_;
    if (config_.empty()) options_.shape = shape();
    options_.pad_vocabulary = tokenizer_.empty();
    options_.tokenizer_dir = tokenizer_.empty() ? bundled_model() : fs::path(tokenizer_);
    options_.dtype = dtype_ == "f32" ? tessera::DType::kFloat32 : tessera::DType::kBFloat16;
    options_.max_shard_bytes = std::int64_t{max_shard_mb_} << 20;
    return options_;
  }

 private:
  struct Dimension {
    const char* flag;
    const char* help;
    std::int32_t ModelShape::*field;
  };
  static constexpr Dimension kDimensions[] = {
      {"--hidden-size", "Width of the residual stream", &ModelShape::hidden_size},
      {"--num-layers", "Decoder layers, 0 or more", &ModelShape::num_layers},
      {"--num-q-heads", "Query heads", &ModelShape::num_q_heads},
      {"--num-kv-heads", "Key/value heads, a divisor of the query heads",
       &ModelShape::num_kv_heads},
      {"--head-dim", "Width of a head, even", &ModelShape::head_dim},
      {"--intermediate-size", "Width of the MLP", &ModelShape::intermediate_size},
      {"--vocab-size", "Rows of the embedding", &ModelShape::vocab_size},
      {"--max-position-embeddings", "Longest sequence", &ModelShape::max_position_embeddings},
  };

  void add_shape(CLI::Option* config) {
    const std::string families = joined(tessera::shape_families());
    app_.add_option("--family", family_, families + " (default sdar); others by --config")
        ->excludes(config);
    for (std::size_t i = 0; i < std::size(kDimensions); ++i) {
      dimensions_[i] = app_.add_option(kDimensions[i].flag, values_[i], kDimensions[i].help);
      dimensions_[i]->excludes(config)->check(CLI::Range(0, 1 << 30));
    }
    rope_ = app_.add_option("--rope-theta", rope_theta_, "Base of the rotary embedding (1e6)");
    rope_->excludes(config)->check(CLI::PositiveNumber);
    tie_ = app_.add_option("--tie-word-embeddings", tie_word_embeddings_,
                           "true or false: the head shares its weights with the embedding");
    tie_->excludes(config);
  }

  // The preset with the flags over it; without a preset every dimension must be given.
  ModelShape shape() const {
    ModelShape result{.family = "sdar"};
    for (const auto& [name, known] : tessera::model_presets()) {
      if (name == preset_) result = known;
    }
    TESSERA_REQUIRE(preset_.empty() || result.hidden_size > 0, "--preset ", preset_,
                    " is not known (try --help)");
    if (!family_.empty()) result.family = family_;
    for (std::size_t i = 0; i < std::size(kDimensions); ++i) {
      const Dimension& dimension = kDimensions[i];
      const bool has_default = !preset_.empty() || result.*dimension.field > 0;
      TESSERA_REQUIRE(has_default || dimensions_[i]->count() > 0, dimension.flag,
                      " is missing: give all dimensions, or --preset, or --config");
      if (dimensions_[i]->count() > 0) result.*dimension.field = values_[i];
    }
    if (rope_->count() > 0) result.rope_theta = rope_theta_;
    if (tie_->count() > 0) result.tie_word_embeddings = tie_word_embeddings_;
    return result;
  }

  CLI::App app_{"Makes a model with random weights, of any size, as a normal checkpoint.",
                "tessera make-model"};
  MakeModelOptions options_;
  std::string output_;
  std::string config_;
  std::string preset_;
  std::string tokenizer_;
  std::string family_;
  std::string dtype_ = "bf16";
  std::int32_t max_shard_mb_ = 4096;
  std::int32_t values_[std::size(kDimensions)] = {};
  CLI::Option* dimensions_[std::size(kDimensions)] = {};
  double rope_theta_ = 0.0;
  bool tie_word_embeddings_ = false;
  CLI::Option* rope_ = nullptr;
  CLI::Option* tie_ = nullptr;
};

/// A bar on a terminal; elsewhere nothing but the first and the last line.
class ProgressBar {
 public:
  void show(std::int64_t done, std::int64_t total) {
    if (isatty(STDERR_FILENO) == 0) return;
    const auto percent = static_cast<int>(100.0 * static_cast<double>(done) / total);
    if (percent == percent_) return;
    percent_ = percent;
    const std::string bar(static_cast<std::size_t>(percent / 2), '#');
    std::fprintf(stderr, "\r[%-50s] %3d %%  %.2f / %.2f GB  %.2f GB/s%s", bar.c_str(), percent,
                 static_cast<double>(done) / 1e9, static_cast<double>(total) / 1e9,
                 static_cast<double>(done) / 1e9 / seconds(), done == total ? "\n" : "");
  }

  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  int percent_ = -1;
};

int run(int argc, const char* const* argv) {
  const std::optional<MakeModelOptions> options = CommandLine().read(argc, argv);
  if (!options) return 0;
  ProgressBar bar;
  tessera::MakeModelEvents events;
  events.on_start = [&](const tessera::ModelSummary& summary) {
    std::fprintf(stderr, "%s: %s, %.1f million parameters, %.2f GB\n", options->output_dir.c_str(),
                 summary.family.c_str(), static_cast<double>(summary.num_parameters) / 1e6,
                 static_cast<double>(summary.num_bytes) / 1e9);
  };
  events.on_progress = [&](std::int64_t done, std::int64_t total) { bar.show(done, total); };
  tessera::make_model(*options, events);
  std::fprintf(stderr, "%s: done in %.1f s\n", options->output_dir.c_str(), bar.seconds());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "tessera make-model: %s\n", error.what());
    return error.code() == tessera::ErrorCode::kInvalidArgument ? kExitUsage : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tessera make-model: %s\n", error.what());
    return 1;
  }
}
