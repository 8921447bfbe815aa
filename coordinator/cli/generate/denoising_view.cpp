#include "coordinator/cli/generate/denoising_view.h"

#include <algorithm>

#include "common/base/error.h"

namespace tessera {

using nlohmann::json;

bool DenoisingView::apply(const StreamChunk& chunk) {
  frozen_ += chunk.text;
  if (!chunk.diffusion) return !chunk.text.empty();
  try {
    apply_event(*chunk.diffusion);
  } catch (const json::exception& error) {
    throw Error(ErrorCode::kTransport,
                detail::concat("not an event of a denoising stream: ", chunk.diffusion->dump(),
                               " (", error.what(), ")"));
  }
  return chunk.diffusion->at("type") != "commit";
}

void DenoisingView::apply_event(const json& event) {
  const auto type = event.at("type").get<std::string>();
  if (type == "open") {
    opened_ = event.at("start").get<std::int64_t>() + event.at("len").get<std::int64_t>();
  } else if (type == "set") {
    set(event);
  } else if (type == "snapshot") {
    replace(event);
  } else if (type == "commit") {
    committed_ = event.at("upto").get<std::int64_t>();
    shown_.erase(shown_.begin(), shown_.lower_bound(committed_));
  }
}

void DenoisingView::set(const json& event) {
  const json& positions = event.at("pos");
  for (std::size_t i = 0; i < positions.size(); ++i) {
    shown_[positions[i].get<std::int64_t>()] = event.at("text").at(i).get<std::string>();
  }
}

void DenoisingView::replace(const json& event) {
  auto position = event.at("from").get<std::int64_t>();
  shown_.erase(shown_.lower_bound(position), shown_.end());
  for (const json& text : event.at("text")) {
    if (text.is_string()) shown_[position] = text.get<std::string>();
    ++position;
  }
}

std::vector<StyledRun> DenoisingView::text_from(std::size_t offset) const {
  std::vector<StyledRun> text = {{TextState::kFrozen, frozen_.substr(offset)}};
  const auto add = [&](TextState state, const std::string& piece) {
    if (text.back().state != state) text.push_back({state, ""});
    text.back().text += piece;
  };
  for (std::int64_t position = committed_; position < opened_; ++position) {
    const auto shown = shown_.find(position);
    if (shown == shown_.end()) {
      add(TextState::kMasked, kMask);
    } else {
      add(TextState::kProvisional, shown->second);
    }
  }
  return text;
}

}  // namespace tessera
