#include "benchmarks/serving/overhead_load.h"

#include <algorithm>
#include <utility>

#include "strategies/strategy_registry.h"

namespace tessera {

EngineOptions OverheadLoad::engine_options() const {
  EngineOptions options;
  options.page_size = kOverheadPageSize;
  options.max_running_requests = num_requests;
  options.max_step_rows = std::max(512, 2 * num_requests * block_size);
  return options;
}

std::string OverheadLoad::strategy_name() const {
  return std::string(strategy_registry().front().name);
}

OptionValues OverheadLoad::strategy_options() const {
  return {{"block_size", std::int64_t{block_size}}, {"buffer_size", std::int64_t{1}}};
}

std::shared_ptr<const Strategy> OverheadLoad::strategy() const {
  return create_strategy(strategy_name(), facts(), strategy_options());
}

ModelFacts OverheadLoad::facts() const {
  ModelFacts facts;
  facts.vocab_size = 2048;
  facts.tokenizer_size = 2019;  // of the bundled model, whose text the front end streams
  facts.mask_id = 2019;
  facts.block_size = block_size;
  return facts;
}

SequenceRequest OverheadLoad::request(RequestId id,
                                      std::shared_ptr<const Strategy> strategy) const {
  SequenceRequest request;
  request.id = id;
  request.strategy = std::move(strategy);
  request.prompt.resize(static_cast<std::size_t>(prompt_len));
  for (std::size_t i = 0; i < request.prompt.size(); ++i) {
    request.prompt[i] = static_cast<TokenId>((id + 17 * i) % 2000);
  }
  request.limits.max_tokens = max_tokens();
  request.limits.max_model_len = max_model_len();
  return request;
}

}  // namespace tessera
