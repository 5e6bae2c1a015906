"""Local data sets in other libraries' forms, as sources and pipelines.

foreign     what a data set of another library has to offer
hf, tfds    those of the `datasets` library and of TensorFlow Datasets
pipeline    either of them as a `Pipeline`

Nothing is ever downloaded, and a library is imported only when a data set of its form is opened.
"""
