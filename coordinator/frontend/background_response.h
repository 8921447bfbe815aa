#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "coordinator/frontend/http/pending_response.h"

namespace tessera {

/// A whole answer that is computed on another thread.
///
/// Owned by its connection, on the server's thread.
class BackgroundResponse final : public PendingResponse {
 public:
  BackgroundResponse() : self_(std::make_shared<BackgroundResponse*>(this)) {}

  /// Expires with this object, for the work that will call finish().
  std::weak_ptr<BackgroundResponse*> self() const { return self_; }

  void finish(HttpResponse answer) {
    answer_ = std::move(answer);
    if (wakeup_) wakeup_();
  }

  void set_wakeup(std::function<void()> wakeup) override { wakeup_ = std::move(wakeup); }
  const HttpResponse* stream_head() const override { return nullptr; }
  ResponsePart poll(bool) override {
    if (!answer_) return {};
    return {.kind = ResponsePart::Kind::kWhole, .whole = *std::move(answer_), .bytes = {}};
  }

 private:
  std::shared_ptr<BackgroundResponse*> self_;
  std::function<void()> wakeup_;
  std::optional<HttpResponse> answer_;
};

}  // namespace tessera
