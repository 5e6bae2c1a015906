// Loads a SavedModel as TensorFlow Serving does and answers one request.
//
//   saved_model_client DIRECTORY SIGNATURE INPUT FILE ROWS...
//
// FILE holds the input as uint8, of the shape ROWS... . Prints every output: its name, then its values.

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"

namespace {

void Print(const std::string& name, const tensorflow::Tensor& tensor) {
  std::cout << name;
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    std::cout << ' ';
    switch (tensor.dtype()) {
      case tensorflow::DT_FLOAT:
        std::cout << tensor.flat<float>()(i);
        break;
      case tensorflow::DT_INT64:
        std::cout << tensor.flat<int64_t>()(i);
        break;
      case tensorflow::DT_STRING:
        std::cout << tensor.flat<tensorflow::tstring>()(i);
        break;
      default:
        std::cout << '?';
    }
  }
  std::cout << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    std::cerr << "usage: " << argv[0] << " DIRECTORY SIGNATURE INPUT FILE ROWS...\n";
    return 2;
  }
  std::cout.precision(9);

  tensorflow::TensorShape shape;
  for (int i = 5; i < argc; ++i) shape.AddDim(std::stoll(argv[i]));
  tensorflow::Tensor input(tensorflow::DT_UINT8, shape);
  std::ifstream file(argv[4], std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (static_cast<int64_t>(bytes.size()) != input.NumElements()) {
    std::cerr << argv[4] << " has " << bytes.size() << " bytes, expected " << input.NumElements() << "\n";
    return 2;
  }
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(input.flat<uint8_t>().data()));

  tensorflow::SavedModelBundle bundle;
  absl::Status status = tensorflow::LoadSavedModel(tensorflow::SessionOptions(), tensorflow::RunOptions(), argv[1],
                                                   {"serve"}, &bundle);
  if (!status.ok()) {
    std::cerr << status << "\n";
    return 1;
  }
  const auto& signature = bundle.GetSignatures().at(argv[2]);
  std::vector<std::string> names, tensors;
  for (const auto& output : signature.outputs()) {
    names.push_back(output.first);
    tensors.push_back(output.second.name());
  }
  std::vector<tensorflow::Tensor> answers;
  status = bundle.GetSession()->Run({{signature.inputs().at(argv[3]).name(), input}}, tensors, {}, &answers);
  if (!status.ok()) {
    std::cerr << status << "\n";
    return 1;
  }
  for (size_t i = 0; i < answers.size(); ++i) Print(names[i], answers[i]);
  return 0;
}
