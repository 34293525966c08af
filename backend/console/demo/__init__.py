"""`argenseg demo`: a Label Studio with real microscope images, on which masks are already drawn."""
