#include "coordinator/frontend/openai/api_error.h"

#include "common/base/error.h"

namespace tessera {

ApiError invalid_value(std::string param, std::string message) {
  return {.message = std::move(message), .param = std::move(param), .retry_after_seconds = {}};
}

ApiError context_length_exceeded(std::string param, std::string message) {
  ApiError error = invalid_value(std::move(param), std::move(message));
  error.code = "context_length_exceeded";
  return error;
}

ApiError unsupported_parameter(std::string param, std::string message) {
  ApiError error = invalid_value(std::move(param), std::move(message));
  error.code = "unsupported_parameter";
  return error;
}

ApiError model_not_found(const std::string& model, const std::string& served) {
  return {.status = 404,
          .type = "not_found_error",
          .code = "model_not_found",
          .message =
              "model \"" + model + "\" is not served here; use \"" + served + "\" or \"default\"",
          .param = "model",
          .retry_after_seconds = {}};
}

ApiError unavailable(std::string code, std::string message) {
  return {.status = 503,
          .type = "service_unavailable",
          .code = std::move(code),
          .message = std::move(message),
          .param = {},
          .retry_after_seconds = 2};
}

ApiError internal_error(const std::string& request_id) {
  return {.status = 500,
          .type = "server_error",
          .code = "internal",
          .message =
              "an internal error ended this request; its id in the server's log is " + request_id,
          .param = {},
          .retry_after_seconds = {}};
}

ApiError error_of(const SequenceFailure& failure) {
  switch (failure.reason) {
    case FailureReason::kInvalid:
      return {.message = failure.message, .param = {}, .retry_after_seconds = {}};
    case FailureReason::kQueueFull:
      return {.status = 429,
              .type = "rate_limit_error",
              .code = "queue_full",
              .message = failure.message,
              .param = {},
              .retry_after_seconds = 1};
    case FailureReason::kDraining: return unavailable("draining", failure.message);
    case FailureReason::kRankLost: return unavailable("rank_lost", failure.message);
    case FailureReason::kEngineFailed: return unavailable("engine_failed", failure.message);
    case FailureReason::kDeadlineExceeded:
      return {.status = 408,
              .type = "timeout_error",
              .code = "deadline_exceeded",
              .message = failure.message,
              .param = {},
              .retry_after_seconds = {}};
    // The front end never waits for sequences it cancelled itself: the server did this.
    case FailureReason::kCancelled: return unavailable("cancelled", failure.message);
  }
  TESSERA_CHECK(false, "failure reason ", static_cast<int>(failure.reason));
}

nlohmann::ordered_json to_json(const ApiError& error) {
  nlohmann::ordered_json param = nullptr;
  if (error.param) param = *error.param;
  return {{"error",
           {{"message", error.message},
            {"type", error.type},
            {"param", std::move(param)},
            {"code", error.code}}}};
}

}  // namespace tessera
