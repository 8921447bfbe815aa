#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/frontend/frontend.h"
#include "tests/coordinator/frontend/fake_engine.h"
#include "tests/coordinator/frontend/http_client.h"
#include "tests/coordinator/frontend/text_fixture.h"

namespace tessera::testing {

inline constexpr const char* kChat = "/v1/chat/completions";
inline constexpr const char* kCompletions = "/v1/completions";

inline FrontendOptions test_options() {
  FrontendOptions options;
  options.port = 0;
  options.model = tiny_model();
  options.model.text = std::make_shared<const TextModel>(load_text(tiny_model_dir()));
  options.seed = 1;
  options.version = "1.2.3";
  options.unix_seconds = [] { return std::int64_t{1'700'000'000}; };
  return options;
}

/// A front end on a free port of loopback over an engine that does what the test says.
class FrontendTest : public ::testing::Test {
 protected:
  ~FrontendTest() override {
    if (frontend_) frontend_->stop();
  }

  void serve(FrontendOptions options = test_options()) {
    frontend_ = std::make_unique<Frontend>(std::move(options), clock_);
    engine_ = std::make_unique<FakeEngine>(*frontend_);
    frontend_->start(*engine_, [] { return ClusterMetrics{}; });
  }

  HttpClient client() const { return HttpClient(frontend_->port()); }

  Answer post(const std::string& path, const std::string& body, const std::string& headers = "") {
    HttpClient connection(frontend_->port());
    connection.post(path, body, headers);
    return connection.read();
  }

  void freeze(RequestId id, std::string_view text, std::optional<FinishReason> finish = {}) {
    SequenceUpdate update;
    update.id = id;
    update.frozen = tiny_tokenizer().encode(text);
    update.num_steps = ++num_steps_;
    update.finish = finish;
    update.usage.cached_tokens = 1;
    engine_->send(std::move(update));
  }

  SystemClock clock_;
  std::unique_ptr<Frontend> frontend_;
  std::unique_ptr<FakeEngine> engine_;
  std::int32_t num_steps_ = 0;
};

inline std::string chat_body(const std::string& members = "") {
  return R"({"messages":[{"role":"user","content":"What is 1 + 1?"}])" +
         (members.empty() ? "" : "," + members) + "}";
}

/// The JSON of every event; [DONE] becomes the string "[DONE]".
inline std::vector<nlohmann::json> events_of(const std::string& body) {
  std::vector<nlohmann::json> events;
  for (std::size_t at = 0; at < body.size();) {
    const std::size_t end = body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << "an event without its end: " << body.substr(at);
    if (end == std::string::npos) break;
    const std::string event = body.substr(at, end - at);
    at = end + 2;
    if (event.starts_with(":")) continue;
    EXPECT_TRUE(event.starts_with("data: ")) << event;
    events.push_back(event == "data: [DONE]" ? nlohmann::json("[DONE]")
                                             : nlohmann::json::parse(event.substr(6)));
  }
  return events;
}

}  // namespace tessera::testing
