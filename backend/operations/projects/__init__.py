"""Work on a whole project of Label Studio: connect it, predict it, choose the version that annotators see."""
