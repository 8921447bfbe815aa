#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>

#include "coordinator/request/sequence_update.h"

namespace tessera {

/// An answer that says no: the HTTP status and the error object of the OpenAI API. docs/api.md
/// lists all of them.
struct ApiError {
  int status = 400;
  std::string type = "invalid_request_error";
  std::string code = "invalid_value";
  std::string message;               ///< Names the field, the value and what is allowed.
  std::optional<std::string> param;  ///< The field, "decoding.block_size" for nested ones.
  std::optional<int> retry_after_seconds;
};

/// A value, or why there is none.
template <typename T>
using Parsed = std::variant<T, ApiError>;

/// 400: `param` has a value that is not allowed.
ApiError invalid_value(std::string param, std::string message);

/// 400: the prompt leaves no room for an output token.
ApiError context_length_exceeded(std::string param, std::string message);

/// 400: the parameter is known and does nothing here.
ApiError unsupported_parameter(std::string param, std::string message);

/// 404: no such model.
ApiError model_not_found(const std::string& model, const std::string& served);

/// 503: the whole server cannot take work.
ApiError unavailable(std::string code, std::string message);

/// 500: a bug of ours that ended one request.
ApiError internal_error(const std::string& request_id);

/// What the client of a failed sequence is told.
ApiError error_of(const SequenceFailure& failure);

/// {"error": {"message", "type", "param", "code"}}
nlohmann::ordered_json to_json(const ApiError& error);

}  // namespace tessera
