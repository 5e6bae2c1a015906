/* Loads a SavedModel by TensorFlow's C API and answers one request.
 *
 *   saved_model_client DIRECTORY INPUT FILE RANK ROWS... NAME OUTPUT [NAME OUTPUT]...
 *
 * INPUT and OUTPUT are tensors of the graph, such as serving_default_image:0; the C API reads no signatures. FILE holds
 * the input as uint8, of the shape ROWS... . Prints every output: its NAME, then its values.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

enum { MAX_RANK = 8, MAX_OUTPUTS = 16 };

static void check(const TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s\n", TF_Message(status));
    exit(1);
  }
}

/* The output "operation:index" of a graph. */
static TF_Output find(TF_Graph* graph, const char* name) {
  char operation[256];
  const char* colon = strrchr(name, ':');
  if (colon == NULL || (size_t)(colon - name) >= sizeof operation) {
    fprintf(stderr, "expected operation:index, got %s\n", name);
    exit(2);
  }
  memcpy(operation, name, (size_t)(colon - name));
  operation[colon - name] = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, operation), atoi(colon + 1)};
  if (output.oper == NULL) {
    fprintf(stderr, "there is no operation %s\n", operation);
    exit(1);
  }
  return output;
}

static void print(const char* name, const TF_Tensor* tensor) {
  printf("%s", name);
  const int64_t count = TF_TensorElementCount(tensor);
  for (int64_t i = 0; i < count; ++i) {
    switch (TF_TensorType(tensor)) {
      case TF_FLOAT:
        printf(" %.9g", ((const float*)TF_TensorData(tensor))[i]);
        break;
      case TF_INT64:
        printf(" %" PRId64, ((const int64_t*)TF_TensorData(tensor))[i]);
        break;
      case TF_STRING: {
        const TF_TString* text = (const TF_TString*)TF_TensorData(tensor) + i;
        printf(" %.*s", (int)TF_StringGetSize(text), TF_StringGetDataPointer(text));
        break;
      }
      default:
        printf(" ?");
    }
  }
  printf("\n");
}

int main(int argc, char** argv) {
  const int rank = argc > 4 ? atoi(argv[4]) : 0;
  const int first = 5 + rank;
  const int num_outputs = (argc - first) / 2;
  if (rank < 1 || rank > MAX_RANK || num_outputs < 1 || num_outputs > MAX_OUTPUTS) {
    fprintf(stderr, "usage: %s DIRECTORY INPUT FILE RANK ROWS... NAME OUTPUT [NAME OUTPUT]...\n", argv[0]);
    return 2;
  }

  int64_t shape[MAX_RANK];
  size_t size = 1;
  for (int i = 0; i < rank; ++i) {
    shape[i] = atoll(argv[5 + i]);
    size *= (size_t)shape[i];
  }
  TF_Tensor* input = TF_AllocateTensor(TF_UINT8, shape, rank, size);
  FILE* file = fopen(argv[3], "rb");
  if (file == NULL || fread(TF_TensorData(input), 1, size, file) != size) {
    fprintf(stderr, "%s can't be read, or is too short\n", argv[3]);
    return 2;
  }
  fclose(file);

  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  TF_Output fed = find(graph, argv[2]);
  TF_Output fetched[MAX_OUTPUTS];
  TF_Tensor* answers[MAX_OUTPUTS];
  for (int i = 0; i < num_outputs; ++i) fetched[i] = find(graph, argv[first + 2 * i + 1]);
  TF_SessionRun(session, NULL, &fed, &input, 1, fetched, answers, num_outputs, NULL, 0, NULL, status);
  check(status);
  for (int i = 0; i < num_outputs; ++i) {
    print(argv[first + 2 * i], answers[i]);
    TF_DeleteTensor(answers[i]);
  }

  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteTensor(input);
  TF_DeleteStatus(status);
  return 0;
}
